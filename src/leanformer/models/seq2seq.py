"""The encoder-decoder: BART's, with a mechanism in each of its three attention slots.

Shape letters: B batch, L target length, S source length, D model width, V vocabulary.
"""

from typing import Any

from torch import Tensor, nn
from transformers.cache_utils import Cache
from transformers.modeling_outputs import BaseModelOutput, Seq2SeqLMOutput
from transformers.modeling_utils import slice_logits_to_keep
from transformers.utils.generic import ModelOutput, can_return_tuple

from leanformer.models.config import LeanformerConfig
from leanformer.models.decoder import LeanformerDecoder, with_encoder
from leanformer.models.encoder import LeanformerModel, LeanformerPreTrainedModel
from leanformer.models.generation import LeanformerGenerationMixin
from leanformer.models.linear_cross_entropy import logits_and_loss
from leanformer.models.loss import IGNORED


class LeanformerForConditionalGeneration(LeanformerGenerationMixin, LeanformerPreTrainedModel):
    """A model that gives scores (B, L, V) of every word as the next one of a target, given a source of S tokens.

    One table of words serves encoder, decoder and head, unless `config.tie_word_embeddings` is false: then three do.
    """

    _tied_weights_keys = {
        "decoder.embeddings.word_embeddings.weight": "encoder.embeddings.word_embeddings.weight",
        "head.weight": "encoder.embeddings.word_embeddings.weight",
    }

    def __init__(self, config: LeanformerConfig) -> None:
        super().__init__(with_encoder(config, True))
        self.encoder = LeanformerModel(self.config, add_pooling_layer=False)
        self.decoder = LeanformerDecoder(self.config)
        self.head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def get_output_embeddings(self) -> nn.Linear:
        return self.head

    def set_output_embeddings(self, new_embeddings: nn.Linear) -> None:
        self.head = new_embeddings

    def get_input_embeddings(self) -> nn.Module:
        return self.encoder.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.encoder.set_input_embeddings(value)
        if self.config.tie_word_embeddings:
            self.decoder.set_input_embeddings(value)

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        decoder_attention_mask: Tensor | None = None,
        encoder_outputs: ModelOutput | tuple[Any, ...] | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        decoder_inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        decoder_position_ids: Tensor | None = None,
        logits_to_keep: int | Tensor = 0,
        num_items_in_batch: Tensor | int | None = None,
        return_logits: bool = True,
        **kwargs: Any,
    ) -> Seq2SeqLMOutput:
        """`input_ids`, `attention_mask` (B, S), `token_type_ids` and `position_ids` are the source's and all that the
        encoder takes; what starts with `decoder_` is the target's. `labels` (B, L), -100 no target, make the
        `decoder_input_ids` where none are given: the same, one place to the right. Loss: mean over targets, in
        training with smoothed labels; with `return_logits=False` and labels it is made without the scores.
        """
        if encoder_outputs is None:
            encoded = self.encoder(
                input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds, return_dict=True, **kwargs
            )
        else:
            named = isinstance(encoder_outputs, ModelOutput)
            encoded = encoder_outputs if named else BaseModelOutput(*encoder_outputs)
        if labels is not None:
            use_cache = False
            if decoder_input_ids is None and decoder_inputs_embeds is None:
                decoder_input_ids = self.prepare_decoder_input_ids_from_labels(labels)
        if decoder_input_ids is None and decoder_inputs_embeds is None:
            raise ValueError("there is no target: give labels or decoder_input_ids")
        decoded = self.decoder(
            decoder_input_ids,
            decoder_attention_mask,
            decoder_position_ids,
            past_key_values,
            decoder_inputs_embeds,
            encoded.last_hidden_state,
            attention_mask,
            use_cache,
            return_dict=True,
            **kwargs,
        )
        states = slice_logits_to_keep(decoded.last_hidden_state, logits_to_keep)
        smoothing = self.config.label_smoothing if self.training else 0.0
        logits, loss = logits_and_loss(self.head, states, labels, num_items_in_batch, smoothing, return_logits)
        return Seq2SeqLMOutput(
            loss=loss,
            logits=logits,
            past_key_values=decoded.past_key_values,
            decoder_hidden_states=decoded.hidden_states,
            decoder_attentions=decoded.attentions,
            cross_attentions=decoded.cross_attentions,
            encoder_last_hidden_state=encoded.last_hidden_state,
            encoder_hidden_states=encoded.hidden_states,
            encoder_attentions=encoded.attentions,
        )

    def prepare_decoder_input_ids_from_labels(self, labels: Tensor) -> Tensor:
        """The start token and all labels but the last, -100 as padding; (B, L). Hugging Face's collators call it."""
        start = self.config.decoder_start_token_id
        start = self.config.bos_token_id if start is None else start
        for name, value in (("decoder_start_token_id", start), ("pad_token_id", self.config.pad_token_id)):
            if value is None:
                raise ValueError(f"{name} is None, and labels need it to become decoder_input_ids: set it")
        shifted = labels.roll(1, dims=-1)
        shifted[:, 0] = start
        return shifted.masked_fill(shifted == IGNORED, self.config.pad_token_id)
