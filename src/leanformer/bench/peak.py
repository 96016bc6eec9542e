"""The peak speed of this machine, measured in the same run as the benchmark.

    square     FLOP/s of x W^T, both N x N
    products   FLOP/s of the model's products x W^T, each measured alone: x (T, in) the tokens of a batch, W (out, in)
    model      FLOP/s of a forward pass of only these products, as often as each occurs: sum FLOPs / sum (FLOPs / rate)
    copy       bytes read and written per second, with a tensor larger than any cache

A product counts 2 T in out FLOPs. Each value is the best of several measurements, since a peak is not an average. The
products of the scores and of the backward pass, whose shapes differ, are not included. Attention has four maps here,
even if its mechanism ties them, and each group of a feed-forward layer is a product. The products of mixers other than
attention are not included, so a model with one has no such peak.
"""

from collections.abc import Sequence
from typing import Any

import torch

from leanformer.bench.rounds import Spread, spread
from leanformer.models import LeanformerConfig
from leanformer.training.machine.peak import best, product, square

COPIED = {"cpu": 2**28, "cuda": 2**31}
"""The bytes of the tensor that is copied."""


Product = tuple[int, int, int]
"""(rows, in, out)"""


def machine(device: torch.device, dtype: torch.dtype | None) -> dict[str, float]:
    """Returns `square`, FLOP/s, and `copy`, bytes/s; matrices are in float32 if `dtype` is None."""
    source = torch.zeros(COPIED[device.type], dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    copied = 2 * source.numel() / best(lambda: target.copy_(source), device)
    return {"square": square(device, dtype), "copy": copied}


def model(
    config: LeanformerConfig,
    tokens: int,
    scored: int,
    device: torch.device,
    dtype: torch.dtype | None,
    known: dict[Product, float] | None = None,
) -> dict[str, Any]:
    """Returns `products`, FLOP/s by name, and `model`, for a batch of `tokens`, of which `scored` are predicted.

    Both are None with a mixer other than attention, and with another block type. Rates in `known` are not measured
    again, and new rates are added.
    """
    if config.mixer != "attention" or config.block != "sequential":
        return {"products": None, "model": None}
    known = {} if known is None else known
    depth, groups = config.num_hidden_layers, config.feed_forward_groups
    width, narrow = config.hidden_size, config.embedding_width()
    part, inner = width // groups, config.intermediate_size // groups
    gates = 2 if config.feed_forward == "gated" else 1
    shapes = {
        "attention": (4 * depth, tokens, width, config.shape().inner_size),
        "feed_forward_in": (gates * depth * groups, tokens, part, inner),
        "feed_forward_out": (depth * groups, tokens, inner, part),
        "decoder": (1, scored, narrow, config.vocab_size),
    }
    if narrow != width:
        shapes["embeddings"] = (1, tokens, narrow, width)
    for _, rows, into, out in shapes.values():
        if (rows, into, out) not in known:
            known[rows, into, out] = product(rows, into, out, device, dtype)
    rates = {name: known[rows, into, out] for name, (_, rows, into, out) in shapes.items()}
    flops = {name: times * 2.0 * rows * into * out for name, (times, rows, into, out) in shapes.items()}
    return {"products": rates, "model": sum(flops.values()) / sum(flops[name] / rates[name] for name in shapes)}


def share(rates: Sequence[float], whole: float | None) -> Spread | None:
    """Returns the median and range of the rates as fractions of the peak `whole`, None without a peak."""
    return None if whole is None else spread([rate / whole for rate in rates])
