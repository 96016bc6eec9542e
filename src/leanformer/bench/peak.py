"""What this machine reaches at best, measured in the run that is judged by it.

    square     FLOP/s of x W^T, both N x N
    products   FLOP/s of the model's own products x W^T, each by itself: x (T, in) the tokens of a batch, W (out, in)
    model      FLOP/s of a forward pass of nothing but those, as often as each occurs: sum FLOPs / sum (FLOPs / rate)
    copy       bytes read and written a second, of a tensor larger than any cache

A product counts 2 T in out. Each is the best of several tries: a peak is what the machine can do, not what it does on
average. The scores' products and the backward pass, whose shapes differ, are not among them; attention has four maps
here, whatever its mechanism ties, and each group of a feed-forward layer is a product. What mixers other than attention
multiply is not among them either: a model with one has no such peak.
"""

from collections.abc import Sequence
from typing import Any

import torch

from leanformer.bench.rounds import Spread, spread
from leanformer.models import LeanformerConfig
from leanformer.training.machine.peak import best, product, square

COPIED = {"cpu": 2**28, "cuda": 2**31}
"""Bytes of the tensor that is copied."""


Product = tuple[int, int, int]
"""Rows, in, out."""


def machine(device: torch.device, dtype: torch.dtype | None) -> dict[str, float]:
    """`square`, FLOP/s, and `copy`, bytes/s; matrices are in float32 for a dtype of None."""
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
    """`products`, FLOP/s each by name, and `model`; a batch of `tokens`, `scored` of them predicted. Both are None with
    a mixer other than attention. Rates that are `known` are not measured again, and what is measured is added."""
    if config.mixer != "attention":
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
    """Of a peak; None of none."""
    return None if whole is None else spread([rate / whole for rate in rates])
