"""What `generate` needs to know of a decoder: greedy, sampling and beam search are Hugging Face's."""

from functools import wraps
from typing import Any

from torch import Tensor
from transformers.generation import GenerationMixin


class LeanformerGenerationMixin(GenerationMixin):
    """Positions are the decoder's own business, which counts them: from 0 where no one is padded, else from the mask.

    Only without a cache it cannot tell generation from training, and is told. Of a static cache layers read what is
    filled (`cache`): sizes change with every token, so a mask of the whole cache does not fit, and nothing is compiled.
    """

    config: Any

    @staticmethod
    def create_masks_for_generate(*, attention_mask: Tensor | None = None, **_: Any) -> Tensor | None:
        return attention_mask

    def _valid_auto_compile_criteria(self, *_: Any) -> bool:
        return False

    def _prepare_cache_for_generation(self, generation_config: Any, *args: Any, **kwargs: Any) -> Any:
        model: Any = self
        kind, reason = generation_config.cache_implementation or "dynamic", ""
        if kind == "quantized":
            reason = "a layer of leanformer may cache one tensor, and this cache keeps two"
        elif "offloaded" in kind and self.config.is_encoder_decoder:
            reason = "what an encoder read is not moved"
        elif "offloaded" in kind and model.device.type == "cpu":
            reason = "it relieves a GPU, and the model is on the CPU"
        if reason:
            raise ValueError(f"cache_implementation = {kind!r}: {reason}; take dynamic or static")
        mixin: Any = super()
        return mixin._prepare_cache_for_generation(generation_config, *args, **kwargs)

    def _prepare_position_ids_for_generation(self, *args: Any) -> None:
        return None

    @wraps(GenerationMixin.prepare_inputs_for_generation)  # `generate` reads its signature
    def prepare_inputs_for_generation(self, *args: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        mixin: Any = super()
        inputs = mixin.prepare_inputs_for_generation(*args, **kwargs)
        side = "decoder_" if self.config.is_encoder_decoder else ""
        mask = inputs.get(f"{side}attention_mask")
        if inputs.get("past_key_values") is None and mask is not None and inputs.get(f"{side}position_ids") is None:
            inputs[f"{side}position_ids"] = counted(mask)
        return inputs


def counted(mask_BL: Tensor) -> Tensor:
    """The position of every token among those that are none of padding's, 0 before the first; (B, L)."""
    return (mask_BL.long().cumsum(dim=-1) - 1).clamp(min=0)
