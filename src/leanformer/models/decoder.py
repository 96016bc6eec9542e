"""The decoder: BART's, with a mechanism in the attention slot; alone it is a causal language model.

Shape letters: B batch, L length, T length with what is cached, S length of what an encoder read, D model width,
V vocabulary.
"""

from copy import deepcopy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.cache_utils import Cache, DynamicCache, EncoderDecoderCache
from transformers.modeling_outputs import BaseModelOutputWithPastAndCrossAttentions, CausalLMOutputWithPast
from transformers.modeling_utils import slice_logits_to_keep
from transformers.utils.generic import can_return_tuple
from transformers.utils.output_capturing import OutputRecorder, capture_outputs

from leanformer.attention import MultiHeadAttention, Positions, mixer
from leanformer.models.block_types import decoder_block
from leanformer.models.blocks import DecoderBlock
from leanformer.models.config import LeanformerConfig
from leanformer.models.embeddings import Embeddings, new_norm
from leanformer.models.encoder import LeanformerPreTrainedModel, boolean_mask
from leanformer.models.generation import LeanformerGenerationMixin, counted
from leanformer.models.layer_sharing import layer_sharing, share
from leanformer.models.linear_cross_entropy import logits_and_loss
from leanformer.models.loss import IGNORED


class LeanformerDecoder(LeanformerPreTrainedModel):
    """A model from token ids (B, L) to hidden states (B, L, D), each of what stands to its left; of an encoder's states
    too if `config.is_encoder_decoder`."""

    base_model_prefix = "decoder"
    _can_record_outputs = {
        "hidden_states": DecoderBlock,
        "attentions": OutputRecorder(MultiHeadAttention, index=1, layer_name="attention"),
        "cross_attentions": OutputRecorder(MultiHeadAttention, index=1, layer_name="cross_attention"),
    }

    def __init__(self, config: LeanformerConfig) -> None:
        super().__init__(config)
        if config.embedding_width() != config.hidden_size:
            raise ValueError(
                f"embedding_size = {config.embedding_size}: a decoder's words are as wide as its states, leave it out"
            )
        if not mixer(config.mixer).any_mask:
            raise ValueError(f"mixer = {config.mixer!r}: it reads what comes later, leave it out of a decoder's config")
        kind = decoder_block(config)
        if config.sliding_window is not None:
            raise ValueError(f"sliding_window = {config.sliding_window} is an encoder's: leave it out of this config")
        if not config.first_norm:
            raise ValueError("first_norm = False is an encoder's: leave it out of a decoder's config")
        if config.shared_heads is not None:
            raise ValueError("shared_heads is an encoder's: leave it out of a decoder's config")
        self.embeddings = Embeddings(config, token_types=False)
        self.sharing = layer_sharing(config.layer_sharing, config.decoder_depth())
        blocks = nn.ModuleList([kind(config) for _ in range(self.sharing.stored)])
        self.layers = share(blocks, self.sharing, config.initializer_range)
        self.last_norm = new_norm(config) if config.norm == "pre" else None
        self.rotary = config.rotary()
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.embeddings.word_embeddings

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.embeddings.word_embeddings = value

    @capture_outputs
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Tensor | None = None,
        use_cache: bool | None = None,
        *,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        **kwargs: Any,
    ) -> BaseModelOutputWithPastAndCrossAttentions:
        """Exactly one of `input_ids` (B, L) and `inputs_embeds` (B, L, D); `attention_mask` (B, T) says which of all
        tokens, the cached ones included, are no padding, or is any mask that `boolean_mask` takes.

        Positions are `position_ids` (B, L), or counted: 0, 1, 2, ... on from what is cached; where a cache is in use
        and there is an `attention_mask` (B, T), padding does not count. Training with padding on the left therefore
        needs `position_ids`; padding on the right needs neither them nor a mask, as no token sees to its right. Further
        keywords, which tools pass to every model, change nothing, and neither do token types, which a decoder has not.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("give exactly one of input_ids and inputs_embeds")
        if (encoder_hidden_states is not None) != self.config.is_encoder_decoder:
            raise ValueError(
                f"encoder_hidden_states {'is missing' if encoder_hidden_states is None else 'is given'}, and the "
                f"model's is_encoder_decoder = {self.config.is_encoder_decoder}"
            )
        words_BLD = self.embeddings.word_embeddings(input_ids) if inputs_embeds is None else inputs_embeds
        if use_cache and past_key_values is None:
            past_key_values = DynamicCache()
        if encoder_hidden_states is not None and not isinstance(past_key_values, EncoderDecoderCache | None):
            past_key_values = EncoderDecoderCache(past_key_values, DynamicCache())
        positions = self._positions(words_BLD, attention_mask, position_ids, past_key_values)
        mask = None if attention_mask is None else boolean_mask(attention_mask)
        across = states_mask = None
        if encoder_hidden_states is not None:
            read = torch.arange(encoder_hidden_states.shape[1], device=words_BLD.device)[None]
            across = Positions.of(positions.query, read)._replace(start=positions.start)
            states_mask = None if encoder_attention_mask is None else boolean_mask(encoder_attention_mask)
        if output_attentions is None:
            output_attentions = self.config.output_attentions
        x_BLD = self.embeddings(words_BLD, None, positions.query)
        kept: list[Tensor] = []  # keys and values that the next layers may attend to
        for layer, number in enumerate(self.sharing.blocks):
            x_BLD = self.layers[number](
                x_BLD,
                mask,
                positions,
                encoder_hidden_states,
                states_mask,
                across,
                bool(output_attentions),
                self.sharing.readers > 0,
                *(kept if self.sharing.reads(layer) else []),
                number=layer,
                past_key_values=past_key_values,
            )
            if self.sharing.readers > 0:
                x_BLD, *kept = x_BLD
        if self.last_norm is not None:
            x_BLD = self.last_norm(x_BLD)
        return BaseModelOutputWithPastAndCrossAttentions(last_hidden_state=x_BLD, past_key_values=past_key_values)

    def _positions(
        self, words_BLD: Tensor, mask: Tensor | None, position_ids: Tensor | None, past: Cache | None
    ) -> Positions:
        """Returns the positions of the L new tokens and of all T; the same for the whole batch, and cheaper, where
        nothing else is asked."""
        size, length, _ = words_BLD.shape
        start = 0 if past is None else int(past.get_seq_length())  # a static cache counts in a tensor
        total, longest = start + length, self.config.max_position_embeddings
        if total > longest:
            cached = f" ({start} of them cached)" if start else ""
            raise ValueError(
                f"{total} tokens{cached} are more than max_position_embeddings = {longest}: cut the sequence"
            )
        if mask is not None and mask.shape[-1] != total:
            raise ValueError(f"attention_mask is of {mask.shape[-1]} tokens, and {total} are attended, cached ones too")
        tokens = None if mask is None or mask.ndim != 2 else mask
        if position_ids is None and (tokens is None or past is None):
            return Positions.counted(length, total, words_BLD.device, self.rotary, start)
        if position_ids is not None and start == 0:
            return Positions.of(position_ids, rotary=self.rotary)
        everyone = torch.ones(size, total, dtype=torch.bool, device=words_BLD.device)
        key = counted(everyone if tokens is None else tokens)
        if position_ids is not None:
            key = torch.cat((key[:, :start], position_ids.expand(size, -1)), dim=1)
        return Positions.of(key[:, start:], key, self.rotary)


class LeanformerForCausalLM(LeanformerGenerationMixin, LeanformerPreTrainedModel):
    """A model that gives scores (B, L, V) of every word as the one that comes next."""

    base_model_prefix = "decoder"
    _tied_weights_keys = {"head.weight": "decoder.embeddings.word_embeddings.weight"}

    def __init__(self, config: LeanformerConfig) -> None:
        super().__init__(with_encoder(config, False))
        self.decoder = LeanformerDecoder(self.config)
        self.head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def get_output_embeddings(self) -> nn.Linear:
        return self.head

    def set_output_embeddings(self, new_embeddings: nn.Linear) -> None:
        self.head = new_embeddings

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        num_items_in_batch: Tensor | int | None = None,
        shift_labels: Tensor | None = None,
        return_logits: bool = True,
        **kwargs: Any,
    ) -> CausalLMOutputWithPast:
        """`labels` (B, L) are the input ids, or -100 for no target; they are shifted here, `shift_labels` (B, L) are so
        already and go first. Loss: mean over targets, in training with smoothed labels. `logits_to_keep` asks for the
        last so many scores only, 0 for all; with `return_logits=False` and labels the loss is all there is.
        """
        decoded = self.decoder(
            input_ids,
            attention_mask,
            position_ids,
            past_key_values,
            inputs_embeds,
            use_cache=use_cache,
            return_dict=True,
            **kwargs,
        )
        states = slice_logits_to_keep(decoded.last_hidden_state, logits_to_keep)
        if shift_labels is None and labels is not None:
            shift_labels = F.pad(labels[:, 1:], (0, 1), value=IGNORED)
        smoothing = self.config.label_smoothing if self.training else 0.0
        logits, loss = logits_and_loss(self.head, states, shift_labels, num_items_in_batch, smoothing, return_logits)
        return CausalLMOutputWithPast(loss, logits, decoded.past_key_values, decoded.hidden_states, decoded.attentions)


def with_encoder(config: LeanformerConfig, wanted: bool) -> LeanformerConfig:
    """The config, or a copy of it, with `is_encoder_decoder` as the class has it."""
    if config.is_encoder_decoder != wanted:
        config = deepcopy(config)
        config.is_encoder_decoder = wanted
    return config
