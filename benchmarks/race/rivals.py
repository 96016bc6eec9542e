"""The rivals: models and optimizers as their own packages build them, with the settings that their sources recommend.

modernbert      ModernBERT of transformers with logits at the masked positions alone, StableAdamW of optimi
                (Warner et al. 2024: masks of 30 %, betas 0.9 and 0.98, eps 1e-6, weight decay 1e-5, no dropout, no
                clipping; warm-up, constant, then 1 - sqrt decay)
cramming        x-transformers with the settings of Geiping and Goldstein 2023: pre-norm, gated feed-forward layers
                without biases, scaled sinusoidal positions, normalised embeddings, no dropout; AdamW with betas 0.9 and
                0.98, eps 1e-12, weight decay 0.01, clipping at 0.5, a triangle over the budget, batches that grow;
                masks of 25 %
x-muon          x-transformers with rotary positions, RMS norms, gated layers of SiLU, normalised queries and keys;
                Muon of PyTorch for the matrices of the layers, AdamW for the rest; warm-up, constant, then 1 - sqrt
                decay; masks of 30 %

All have the sizes of the benchmark; a gated layer has three matrices, and is two thirds as wide. `rates` are the
published learning rate and its neighbours, where a search begins.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from leanformer.bench import plain_loop, trainer
from leanformer.bench.entry import Benchmark
from leanformer.install import how_to_install

WARMUP, DECAY = 0.05, 0.4
"""Shares of the steps in which the rate rises and falls; the ones of the recipe `fast`."""

Scores = Callable[[nn.Module, Tensor, Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class Rival:
    build: Callable[[Benchmark], nn.Module]
    scores: Scores
    """Returns the logits (N, V) at the N flat positions of tokens (B, L), and computes no others."""
    optimizers: Callable[[nn.Module, float], list[Optimizer]]
    """Returns the optimizers with their peak rates, of which the first group of the first has the given one."""
    rate: Callable[[float], float]
    """The share of the peak rate after the share t of the steps."""
    rates: tuple[float, ...]
    mask_rate: float
    clip: float | None = None
    first_batch: float = 1.0
    """The share of the batch in the first step; it grows linearly to all of it at half of the steps."""


def trapezium(t: float) -> float:
    """Returns the rate of warm-up, constant rate and 1 - sqrt decay (Haegele et al. 2024)."""
    if t < WARMUP:
        return t / WARMUP
    return 1.0 if t < 1 - DECAY else 1 - sqrt((t - (1 - DECAY)) / DECAY)


def triangle(t: float) -> float:
    """Returns the one-cycle rate of cramming, which rises in the first half and falls in the second."""
    return min(t, 1 - t) * 2


def modernbert_scores(model: nn.Module, tokens: Tensor, positions: Tensor) -> Tensor:
    hidden = model.model(tokens).last_hidden_state.flatten(0, 1)[positions]
    return model.decoder(model.head(hidden))


def x_scores(model: nn.Module, tokens: Tensor, positions: Tensor) -> Tensor:
    return model.to_logits(model(tokens, return_embeddings=True).flatten(0, 1)[positions])


def gated(benchmark: Benchmark, outer: dict[str, object], **layers: object) -> nn.Module:
    """Returns x-transformers with gated layers without biases; ImportError says how to install the package."""
    if reason := plain_loop.lacking():
        raise ImportError(f"x-transformers: {reason}")
    times = benchmark.sizes["intermediate_size"] * 2 / 3 / benchmark.sizes["hidden_size"]
    return plain_loop.encoder(benchmark, outer, ff_mult=times, ff_glu=True, ff_no_bias=True, **layers)


def cramming(benchmark: Benchmark) -> nn.Module:
    return gated(benchmark, {"scaled_sinu_pos_emb": True, "post_emb_norm": True})


def with_muon(benchmark: Benchmark) -> nn.Module:
    modern = {"rotary_pos_emb": True, "use_rmsnorm": True, "ff_swish": True, "attn_qk_norm": True}
    return gated(benchmark, {"use_abs_pos_emb": False}, **modern)


def stable_adamw(model: nn.Module, rate: float) -> list[Optimizer]:
    try:
        from optimi import StableAdamW
    except ImportError:
        raise ImportError(f"torch-optimi: {how_to_install('bench')}") from None
    return [StableAdamW(model.parameters(), lr=rate, betas=(0.9, 0.98), eps=1e-6, weight_decay=1e-5)]


def adamw(model: nn.Module, rate: float) -> list[Optimizer]:
    return [AdamW(_decayed(model.parameters(), 0.01), lr=rate, betas=(0.9, 0.98), eps=1e-12, fused=True)]


def muon(model: nn.Module, rate: float) -> list[Optimizer]:
    """Muon's rate has AdamW's scale (Moonshot's adjustment), so that one rate serves both."""
    layers = [parameter for parameter in model.attn_layers.parameters() if parameter.ndim == 2]
    rest = [parameter for parameter in model.parameters() if not any(parameter is layer for layer in layers)]
    first = torch.optim.Muon(layers, lr=rate, weight_decay=0.01, adjust_lr_fn="match_rms_adamw")
    return [first, AdamW(_decayed(rest, 0.01), lr=rate, betas=(0.9, 0.98), fused=True)]


def _decayed(parameters: object, decay: float) -> list[dict[str, object]]:
    """Returns the groups of parameters with and without weight decay: matrices, and vectors."""
    given = list(parameters)  # type: ignore[call-overload]
    groups = [[p for p in given if p.ndim > 1], [p for p in given if p.ndim < 2]]
    pairs = zip(groups, (decay, 0.0), strict=True)
    return [{"params": group, "weight_decay": share} for group, share in pairs if group]


RIVALS = {
    "modernbert": Rival(
        build=trainer.modernbert_sparse,
        scores=modernbert_scores,
        optimizers=stable_adamw,
        rate=trapezium,
        rates=(4e-4, 8e-4, 1.6e-3),
        mask_rate=0.3,
    ),
    "cramming": Rival(
        build=cramming,
        scores=x_scores,
        optimizers=adamw,
        rate=triangle,
        rates=(5e-4, 1e-3, 2e-3),
        mask_rate=0.25,
        clip=0.5,
        first_batch=0.25,
    ),
    "x-muon": Rival(
        build=with_muon,
        scores=x_scores,
        optimizers=muon,
        rate=trapezium,
        rates=(1e-3, 2e-3, 4e-3),
        mask_rate=0.3,
        clip=1.0,
    ),
}
