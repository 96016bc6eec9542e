"""The peer x-transformers: its encoder in a copy of the training loop on its page.

It has no head for masked LMs: logits (B, L, V) come from the tied embeddings, and the loss is taken where there is a
label. Fused attention, which is an option there, is on, as its page recommends.
"""

import warnings
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader

from leanformer.bench.entry import CLIP, RATE, SEED, Benchmark, Clock, masked
from leanformer.install import how_to_install


def lacking() -> str | None:
    """Returns how to install the package if it is missing, else None."""
    return None if find_spec("x_transformers") else f"not installed: {how_to_install('bench')}"


def build(benchmark: Benchmark) -> nn.Module:
    rate = benchmark.dropout
    times = benchmark.sizes["intermediate_size"] / benchmark.sizes["hidden_size"]
    return encoder(benchmark, {"emb_dropout": rate}, ff_mult=times, attn_dropout=rate, ff_dropout=rate)


def encoder(benchmark: Benchmark, outer: Mapping[str, Any], **layers: Any) -> nn.Module:
    """Returns an encoder with tied embeddings; `layers` are options of its layers, `outer` of what is around them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the package still uses torch.jit.script
        from x_transformers import Encoder, TransformerWrapper
    width, heads = benchmark.sizes["hidden_size"], benchmark.sizes["num_attention_heads"]
    inside = Encoder(
        dim=width,
        depth=benchmark.sizes["num_hidden_layers"],
        heads=heads,
        attn_dim_head=width // heads,
        attn_flash=True,
        **layers,
    )
    return TransformerWrapper(
        num_tokens=benchmark.vocab_size,
        max_seq_len=benchmark.length,
        tie_embedding=True,
        attn_layers=inside,
        **outer,
    )


def turn(benchmark: Benchmark, bf16: bool) -> float:
    """Returns the seconds of the counted steps."""
    torch.manual_seed(SEED)
    model = build(benchmark).to(benchmark.device).train()
    learner: Any = torch.compile(model) if benchmark.compile else model
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE)
    loader = DataLoader(benchmark.examples, benchmark.batch, collate_fn=lambda features: _batch(features, benchmark))  # type: ignore[arg-type]
    clock = Clock(benchmark)
    for done, (inputs, labels) in enumerate(loader, start=1):
        inputs, labels = inputs.to(benchmark.device), labels.to(benchmark.device)
        optimizer.zero_grad()
        with torch.autocast(benchmark.device.type, torch.bfloat16, enabled=bf16):
            loss = F.cross_entropy(learner(inputs).flatten(0, 1), labels.flatten())
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        clock.step(done)
    return clock.seconds


def _batch(features: list[dict[str, Any]], benchmark: Benchmark) -> tuple[torch.Tensor, torch.Tensor]:
    tokens = torch.stack([torch.from_numpy(feature["input_ids"]) for feature in features])
    return masked(tokens.numpy(), [feature["example"] for feature in features], benchmark)
