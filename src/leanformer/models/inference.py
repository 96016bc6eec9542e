"""A trained model made fast for inference: a copy of it that neither learns nor is saved.

    precision   products                                       the rest
    bf16        bfloat16, summed in float32; rounds by 2^-9    bfloat16; softmax, norms and GELU are float32 inside
    int8        8-bit integers, summed in 32 bits              as it was

bf16 is the faster one where hardware multiplies it (`torch.cpu._is_amx_tile_supported`, AVX512-BF16, any recent GPU),
and casts weights once, where autocast does so at every call. int8 is for other x86 CPUs, where bf16 is emulated.
"""

from copy import deepcopy
from typing import TypeVar

import torch
from torch import nn

from leanformer.attention import is_plain
from leanformer.models.encoder import LeanformerPreTrainedModel
from leanformer.models.int8_linear import Int8Linear

M = TypeVar("M", bound=LeanformerPreTrainedModel)
PRECISIONS = ("bf16", "int8")


def for_inference(model: M, precision: str) -> M:
    """A copy of the model, evaluated and without gradients; `model` stays as it is. Run it without autocast.

    ValueError for an unknown precision, and for int8 elsewhere than on an x86 CPU.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision = {precision!r}: it is one of {', '.join(PRECISIONS)}")
    model = deepcopy(model).eval().requires_grad_(False)
    if precision == "bf16":
        return nn.Module.to(model, torch.bfloat16)
    if model.device.type != "cpu":
        raise ValueError(f"int8 inference runs on a CPU, and the model is on {model.device}: move it, or take bf16")
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.Linear) and is_plain(child):
                setattr(parent, name, Int8Linear(child))
    return model
