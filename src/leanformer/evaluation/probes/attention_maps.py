"""Statistics of attention weights w_ij and of the scores s_ij behind them, by layer and head.

    entropy     - sum_j w_ij ln w_ij          nats, mean over tokens i
    distance    sum_j w_ij |i - j|            tokens, mean over i
    itself, before, after                     w_ii, w_i,i-1 and w_i,i+1, mean over i; nothing stands before the first
    special     sum of w_ij over special j    mean over i; special tokens are [CLS], [SEP] and so on
    symmetry    correlation of s_ij and s_ji over the pairs i != j of a sequence:
                with m their mean, sum (s_ij - m) (s_ji - m) / sum (s_ij - m)^2

Tokens i are the ordinary ones. Symmetry is computed from the whole score matrix before the softmax, with what a causal
mask hides: 1 for a symmetric matrix, -1 for an antisymmetric one, 0 if s_ij and s_ji are uncorrelated, and 1 if all
scores are equal. In the matrix without mean and diagonal, the symmetric part has (1 + symmetry) / 2 of the sum of
squares. A bias added to the columns, which changes the softmax, lowers symmetry; a bias added to the rows, which does
not, lowers it, too.

Values are means over sequences, `sd` their standard deviations. `uniform` attention, to every visible token, is given
for reference.

B sequences, H heads, L tokens.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from leanformer.attention import MultiHeadAttention, mixer
from leanformer.attention.logits import Logits
from leanformer.evaluation import pretrained
from leanformer.evaluation.perplexity import held_out
from leanformer.models import saved
from leanformer.training.objectives.sequences import spread

SEQUENCES = 64
BATCH = 8


class Maps(NamedTuple):
    """The attention of one layer."""

    weights_BHLL: Tensor
    scores_BHLL: Tensor


def attention(run: Path, data: str | Path, *, limit: int | None = None) -> dict[str, Any]:
    """Returns statistics on `limit` (default 64) evenly spread held-out sequences of the length of training."""
    if limit is not None and limit < 1:
        raise ValueError(f"--limit {limit}: must be at least 1")
    folder = saved.locate(run)
    kind, length = pretrained.objective(folder), pretrained.length(run)
    require_one_text(kind, folder)
    corpus = held_out(run, data)
    model = pretrained.load_evaluated(folder, kind)
    chosen = spread(corpus.valid.sequences(length), limit or SEQUENCES)
    is_special = torch.from_numpy(corpus.vocabulary.is_special)
    found: list[dict[str, Tensor]] = []
    for first in range(0, len(chosen), BATCH):
        ids_BL = torch.from_numpy(corpus.valid.batch(chosen[first : first + BATCH], length))
        layers = [statistics(*maps, is_special[ids_BL]) for maps in attention_maps(model, ids_BL.to(model.device))]
        found.append({name: torch.stack([layer[name] for layer in layers]) for name in layers[0]})
    values = {name: torch.cat([part[name] for part in found], dim=1).numpy() for name in found[0]}  # layers, B, H
    layers, sequences, heads = values["entropy"].shape
    special_BL = is_special[torch.from_numpy(corpus.valid.batch(chosen, length))]
    even = statistics(*uniform(sequences, length, kind == "causal_lm"), special_BL)
    return {
        "objective": kind,
        "attention": saved.config_of(folder).attention,
        "sequence_length": length,
        "sequences": sequences,
        **{name: float(value.mean()) for name, value in values.items()},
        "uniform": [{name: float(value.mean()) for name, value in even.items() if name != "symmetry"}],
        "heads": [
            {"layer": layer + 1, "head": head + 1} | _moments({n: v[layer, :, head] for n, v in values.items()})
            for layer in range(layers)
            for head in range(heads)
        ],
    }


def require_one_text(kind: str, folder: Path) -> None:
    if kind == "seq2seq":
        raise ValueError(f"{folder} is an encoder-decoder, which reads two texts: give an encoder or a decoder")


@torch.inference_mode()
def attention_maps(model: Any, ids_BL: Tensor) -> list[Maps]:
    """Returns the maps of every layer, first to last, by the plain formula, whatever the mechanism."""
    scores: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: Any, logits: Logits) -> None:
        scores.append(logits.dense().detach())  # a table is a parameter

    if not mixer(model.config.mixer).keeps_places:
        raise ValueError(
            f"mixer {model.config.mixer!r} has no heads that score tokens: there are no maps of its scores"
        )
    layers = [module for module in model.modules() if isinstance(module, MultiHeadAttention)]
    hooks = [layer.compatibility.register_forward_hook(keep) for layer in layers]
    try:
        weights = model.base_model(input_ids=ids_BL, output_attentions=True).attentions
    finally:
        for hook in hooks:
            hook.remove()
    return [Maps(w, s.expand_as(w)) for w, s in zip(weights, scores, strict=True)]


def uniform(size: int, length: int, causal: bool) -> Maps:
    """Returns uniform attention to every visible token."""
    scores = torch.zeros(size, 1, length, length)
    seen = torch.ones(length, length).tril() if causal else torch.ones(length, length)
    return Maps((seen / seen.sum(-1, keepdim=True)).expand_as(scores), scores)


def statistics(weights_BHLL: Tensor, scores_BHLL: Tensor, special_BL: Tensor) -> dict[str, Tensor]:
    """Returns statistics, (B, H) each, float64, on the CPU; NaN for a sequence of special tokens only."""
    w, s = weights_BHLL.double().cpu(), scores_BHLL.double().cpu()
    length = w.shape[-1]
    places = torch.arange(length)
    asks_BHL = (~special_BL[:, None]).double()
    asks_BHL = asks_BHL / asks_BHL.sum(-1, keepdim=True)

    def mean(value_BHL: Tensor) -> Tensor:
        return (value_BHL * asks_BHL).sum(-1)

    diagonals = {"itself": 0, "before": -1, "after": 1}
    shifted = {name: torch.diag_embed(w.diagonal(k, -2, -1), k, -2, -1).sum(-1) for name, k in diagonals.items()}
    return {
        "entropy": mean(torch.special.entr(w).sum(-1)),
        "distance": mean((w * (places[:, None] - places).abs()).sum(-1)),
        **{name: mean(value) for name, value in shifted.items()},
        "special": mean((w * special_BL[:, None, None, :]).sum(-1)),
        "symmetry": symmetry(s),
    }


def symmetry(scores_BHLL: Tensor) -> Tensor:
    """Returns (B, H), the correlation defined above."""
    pairs = ~torch.eye(scores_BHLL.shape[-1], dtype=torch.bool)
    there, back = scores_BHLL[..., pairs], scores_BHLL.transpose(-1, -2)[..., pairs]
    mean = there.mean(-1, keepdim=True)
    spread = ((there - mean) ** 2).sum(-1)
    return torch.where(spread == 0, 1.0, ((there - mean) * (back - mean)).sum(-1) / spread)


def _moments(values: dict[str, np.ndarray]) -> dict[str, Any]:
    deviations = {name: float(v.std(ddof=1)) if len(v) > 1 else None for name, v in values.items()}
    return {name: float(v.mean()) for name, v in values.items()} | {"sd": deviations}
