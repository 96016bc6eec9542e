"""The encoder: BERT's, with a mechanism in the attention slot.

Shape letters: B batch, L length, H heads, D model width.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from transformers import initialization as init
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.modeling_utils import PreTrainedModel
from transformers.utils.output_capturing import capture_outputs

from leanformer.attention import MultiHeadAttention, Positions, Rotary, take, with_window
from leanformer.models.block_types import block as block_type
from leanformer.models.blocks import Block, Pooler
from leanformer.models.config import LeanformerConfig
from leanformer.models.embeddings import Embeddings, new_norm
from leanformer.models.head_bank import gather
from leanformer.models.initialisation import values_when_built
from leanformer.models.layer_sharing import layer_sharing, modules_of, share
from leanformer.models.local_attention import is_local


class LeanformerPreTrainedModel(PreTrainedModel):
    """What all leanformer models share.

    `attn_implementation` keeps its Hugging Face meaning, a kernel: "sdpa" fused, "eager" the plain formula. The
    mechanism is `config.attention`.
    """

    config: LeanformerConfig
    base_model_prefix = "encoder"
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _no_split_modules = ["Embeddings", "Block", "DecoderBlock"]
    _skip_keys_device_placement = ["past_key_values"]
    _can_record_outputs = {"hidden_states": Block, "attentions": MultiHeadAttention}

    def post_init(self) -> None:
        super().post_init()
        self._choose_kernel()

    def set_attn_implementation(self, *args: Any, **kwargs: Any) -> None:
        super().set_attn_implementation(*args, **kwargs)
        self._choose_kernel()

    def _choose_kernel(self) -> None:
        for module in self.modules():
            if isinstance(module, MultiHeadAttention):
                module.fused = self.config._attn_implementation != "eager"

    def _places(self, read: Tensor | None, asked: Mapping[str, Any]) -> Tensor | None:
        """Returns the places that a head reads, (B, N), or None for all of them if hidden states are asked for, since
        the last ones are those of all tokens."""
        given = asked.get("output_hidden_states")
        return None if (self.config.output_hidden_states if given is None else given) else read

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        for name, value in values_when_built(module, self.config.initializer_range).items():
            init.copy_(getattr(module, name), value)


class LeanformerModel(LeanformerPreTrainedModel):
    """A model from token ids (B, L) to hidden states (B, L, D), and to the pooled first one (B, D) with a pooler."""

    def __init__(self, config: LeanformerConfig, add_pooling_layer: bool = True) -> None:
        super().__init__(config)
        self._no_split_modules = [*self._no_split_modules, block_type(config.block).__name__]
        self.embeddings = Embeddings(config)
        self.sharing = layer_sharing(config.layer_sharing, config.num_hidden_layers)
        blocks = nn.ModuleList([block_type(config.block)(config) for _ in range(self.sharing.stored)])
        self.layers = share(blocks, self.sharing, config.initializer_range)
        if config.shared_heads is not None:
            std = config.initializer_range
            self.head_banks = gather(self.layers, config.shared_heads, config.projection(), std)
        if not config.first_norm:
            self.layers[0].attention_norm = nn.Identity()
        self.last_norm = new_norm(config) if config.norm == "pre" else None
        self.pooler = Pooler(config) if add_pooling_layer else None
        self.rotary, self.local_rotary = config.rotary(), config.rotary(local=True)
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
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        *,
        places: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        **kwargs: Any,
    ) -> BaseModelOutputWithPooling:
        """Exactly one of `input_ids` (B, L) and `inputs_embeds` (B, L, D); `attention_mask` as `boolean_mask` takes it.
        As in BERT, further keywords, which tools pass to every model, change nothing.

        Attention weights are built only where `output_attentions` asks for them, since no fused kernel returns them;
        `capture_outputs` gathers them, and the hidden states, by hooks on the classes of `_can_record_outputs`.

        With `places` (B, N) the last hidden states are those of these tokens alone, (B, N, D), and the pooled one is of
        the first of them: the last block computes no others, unless a hook sees what it does.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("give exactly one of input_ids and inputs_embeds")
        if kwargs.get("encoder_hidden_states") is not None:
            raise ValueError("encoder_hidden_states is given to an encoder, which has no cross-attention: leave it out")
        words_BLD = self.embeddings.word_embeddings(input_ids) if inputs_embeds is None else inputs_embeds
        length, longest = words_BLD.shape[1], self.config.max_position_embeddings
        if length > longest:
            raise ValueError(f"{length} tokens are more than max_position_embeddings = {longest}: cut the sequence")

        def placed(rotary: Rotary | None) -> Positions:
            if position_ids is None:
                return Positions.counted(length, length, words_BLD.device, rotary)
            return Positions.of(position_ids, rotary=rotary)

        positions = placed(self.rotary)
        if output_attentions is None:
            output_attentions = self.config.output_attentions
        mask = None if attention_mask is None else boolean_mask(attention_mask)
        x_BLD = self.embeddings(words_BLD, token_type_ids, positions.query)
        everywhere = nearby = mask, positions
        if self.config.sliding_window is not None:
            same = self.local_rotary == self.rotary
            near = with_window(mask, length, self.config.sliding_window, words_BLD.device)
            nearby = near, positions if same else placed(self.local_rotary)
        last = self.layers[self.sharing.blocks[-1]]
        whole = places is None or output_attentions or _watched(last) or type(last).forward is not Block.forward
        kept: list[Tensor] = []  # keys and values that the next layers may attend to
        for layer, number in enumerate(self.sharing.blocks):
            block = self.layers[number]
            asked = (*(nearby if is_local(self.config, layer) else everywhere), bool(output_attentions))
            some = None if whole or layer + 1 < len(self.sharing.blocks) else places
            if self.sharing.readers > 0:
                x_BLD, *kept = block(x_BLD, *asked, some, True, *(kept if self.sharing.reads(layer) else []))
            else:
                x_BLD = block(x_BLD, *asked) if some is None else block(x_BLD, *asked, some)
        if whole and places is not None:
            x_BLD = take(x_BLD, places)
        if self.last_norm is not None:
            x_BLD = self.last_norm(x_BLD)
        pooled_BD = None if self.pooler is None else self.pooler(x_BLD)
        return BaseModelOutputWithPooling(last_hidden_state=x_BLD, pooler_output=pooled_BD)


def _watched(block: nn.Module) -> bool:
    """Whether a hook in it expects what it does for all tokens."""
    return any(module._forward_hooks or module._forward_pre_hooks for module in modules_of(block))


def boolean_mask(attention_mask: Tensor) -> Tensor:
    """True = may attend, broadcastable to (B, H, L, L), from any mask of Hugging Face's:

    (B, L) which tokens may be attended, (B, L, L) and (B, #H, L, L) by whom: boolean, or a number, zero = may not. But
    a floating point mask of four axes is additive: zero = may attend, dtype's minimum = may not.
    """
    if attention_mask.ndim == 4 and attention_mask.is_floating_point():
        if not torch.compiler.is_compiling() and (attention_mask > 0).any():
            raise ValueError("a floating point attention_mask of four axes is added to scores: make it boolean or <= 0")
        return attention_mask == 0
    if attention_mask.ndim not in (2, 3, 4):
        raise ValueError(f"attention_mask has {attention_mask.ndim} axes: (B, L), (B, L, L) or (B, H, L, L) are known")
    mask = attention_mask.bool()
    return mask[:, None, None, :] if mask.ndim == 2 else mask[:, None] if mask.ndim == 3 else mask
