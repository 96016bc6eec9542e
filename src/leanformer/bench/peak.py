"""What this machine reaches at best, measured in the run that is judged by it.

    square     FLOP/s of x W^T, both N x N
    products   FLOP/s of the model's own products x W^T, each by itself: x (T, in) the tokens of a batch, W (out, in)
    model      FLOP/s of a forward pass of nothing but those, as often as each occurs: sum FLOPs / sum (FLOPs / rate)
    copy       bytes read and written a second, of a tensor larger than any cache

A product counts 2 T in out. Each is the best of several tries: a peak is what the machine can do, not what it does on
average. The scores' products and the backward pass, whose shapes differ, are not among them.
"""

from typing import Any

import torch

from leanformer.models import LeanformerConfig
from leanformer.training.peak import best, product, square

COPIED = {"cpu": 2**28, "cuda": 2**31}
"""Bytes of the tensor that is copied."""


def machine(device: torch.device, dtype: torch.dtype | None) -> dict[str, float]:
    """`square`, FLOP/s, and `copy`, bytes/s; matrices are in float32 for a dtype of None."""
    source = torch.zeros(COPIED[device.type], dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    copied = 2 * source.numel() / best(lambda: target.copy_(source), device)
    return {"square": square(device, dtype), "copy": copied}


def model(
    config: LeanformerConfig, tokens: int, scored: int, device: torch.device, dtype: torch.dtype | None
) -> dict[str, Any]:
    """`products`, FLOP/s each by name, and `model`; a batch of `tokens`, `scored` of them predicted."""
    width, inner, depth = config.hidden_size, config.shape().inner_size, config.num_hidden_layers
    shapes = {
        "attention": (4 * depth, tokens, width, inner),
        "feed_forward_in": (depth, tokens, width, config.intermediate_size),
        "feed_forward_out": (depth, tokens, config.intermediate_size, width),
        "decoder": (1, scored, width, config.vocab_size),
    }
    rates = {name: product(rows, into, out, device, dtype) for name, (_, rows, into, out) in shapes.items()}
    flops = {name: times * 2.0 * rows * into * out for name, (times, rows, into, out) in shapes.items()}
    return {"products": rates, "model": sum(flops.values()) / sum(flops[name] / rates[name] for name in shapes)}
