"""Sparse fine-tuning: parameter-efficient sparse training (Li et al., 2022, "PST"), and magnitude pruning beside it.

In place of the weight W_0 (o, i) of a linear map, with s the sparsity of the step and k = floor(s o i):

    pst          W = W_0 + beta U V                                        U (o, r1) ~ N(0, 1),  V (r1, i) = 0
                 S = |W| + alpha_1 A B + alpha_2 (R 1^T + 1 C^T)           A (o, r2) ~ N(0, 1),  B, R (o), C (i) = 0
    magnitude    W = W_0,  S = |W|
    both         the map multiplies by M * W, where M is 0 at the k smallest entries of S and 1 elsewhere

PST trains U, V, A, B, R, C, (r1 + r2 + 1)(o + i) numbers a map, and no weight; M passes its gradient to S as if it were
S (straight through), and to U and V through |W| as well, as in the authors' code. Magnitude pruning trains all weights
(Zhu & Gupta, 2017, "To prune, or not to prune"); M has no gradient, so a masked weight moves by decay only.

The sparsity of step t of T, s_f the final one:

    0 up to T / 10,    s_f - s_f (1 - p)^3  with p from 0 to 1 up to 7 T / 10,    then s_f

`Sparsity.finish` puts M * W in the place of W_0 and takes the rest away: the model is a plain one again, with zeros.
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from leanformer.data.randomness import random_bits
from leanformer.settings import FinetuningSettings
from leanformer.training.run.callback import Callback

BEGIN, END = 0.1, 0.7
"""Fractions of the steps between which weights are taken away."""


def sparsity_at(step: int, total: int, final: float) -> float:
    spent = step / total
    if spent >= END:
        return final
    return final - final * (1 - max(0.0, spent - BEGIN) / (END - BEGIN)) ** 3


def mask(scores: Tensor, zeros: int) -> Tensor:
    """1, and 0 at exactly so many of the smallest scores."""
    kept = torch.ones_like(scores).flatten()
    kept[scores.flatten().topk(zeros, largest=False, sorted=False).indices] = 0
    return kept.view_as(scores)


class Masked(nn.Module):
    """Magnitude pruning of a weight; the number of `zeros` is set from outside."""

    zeros = 0

    def forward(self, weight: Tensor) -> Tensor:
        with torch.no_grad():
            kept = mask(weight.abs(), self.zeros)
        return weight * kept


class Pst(Masked):
    """PST of a weight (o, i); the `number` of the map makes its values others than another's."""

    def __init__(self, weight: Tensor, settings: FinetuningSettings, number: int) -> None:
        super().__init__()
        self.own = own = settings.sparse
        (rows, columns), device = weight.shape, weight.device

        def normal(rank: int, part: int) -> nn.Parameter:
            draw = torch.Generator().manual_seed(int(random_bits(settings.seed, number, part)) >> 1)
            return nn.Parameter(torch.randn(rows, rank, generator=draw).to(device))

        self.u = normal(own.update_rank, 0)
        self.v = nn.Parameter(torch.zeros(own.update_rank, columns, device=device))
        if own.score_rank:
            self.a = normal(own.score_rank, 1)
            self.b = nn.Parameter(torch.zeros(own.score_rank, columns, device=device))
        if own.structure_scale:
            self.r = nn.Parameter(torch.zeros(rows, device=device))
            self.c = nn.Parameter(torch.zeros(columns, device=device))

    def forward(self, weight: Tensor) -> Tensor:
        own = self.own
        with torch.autocast(weight.device.type, enabled=False):  # else the exported weights would be others
            weight = weight + own.update_scale * (self.u @ self.v)
            scores = weight.abs()
            if own.score_rank:
                scores = scores + own.score_scale * (self.a @ self.b)
            if own.structure_scale:
                scores = scores + own.structure_scale * (self.r[:, None] + self.c)
            return weight * (mask(scores.detach(), self.zeros) + (scores - scores.detach()))


class Sparsity(Callback):
    """Makes the linear maps of the model's layers sparse over `total` steps; of PST, freezes the weights of all but the
    modules whose names start with `head`. Nothing but the step matters, so there is no state."""

    name = "sparsity"

    def __init__(self, model: nn.Module, head: tuple[str, ...], settings: FinetuningSettings, total: int) -> None:
        self.model, self.final, self.total = model, settings.sparse.sparsity, total
        pst = settings.method == "pst"
        if pst:
            for name, parameter in model.named_parameters():
                parameter.requires_grad_(settings.sparse.train_head and name.startswith(head))
        self.maps = list(linear_maps(model))
        if not self.maps:
            raise ValueError(f"finetuning.method = {settings.method!r}: the model has no linear map in its layers")
        self.masked = [Pst(each.weight, settings, i) if pst else Masked() for i, each in enumerate(self.maps)]
        for each, masked in zip(self.maps, self.masked, strict=True):
            parametrize.register_parametrization(each, "weight", masked)
        learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
        of_head = [p for name, p in model.named_parameters() if name.startswith(head) and p.requires_grad]
        self.counts = {"trainable": sum(map(torch.numel, learning)), "head": sum(map(torch.numel, of_head))}

    def before_step(self, step: int) -> None:
        self._prune(sparsity_at(step, self.total, self.final))

    def _prune(self, sparsity: float) -> None:
        for each, masked in zip(self.maps, self.masked, strict=True):
            size = each.in_features * each.out_features
            masked.zeros = math.floor(sparsity * size + 1e-6)  # 0.29 of 100 are 29, in floating point too

    def finish(self) -> dict[str, int]:
        """Make the model plain; how many maps it has, weights and zeros in them, and how many numbers learned."""
        self._prune(self.final)
        for each in self.maps:
            parametrize.remove_parametrizations(each, "weight")
        self.model.requires_grad_(True)
        weights = [each.weight for each in self.maps]
        zeros = sum(int((weight == 0).sum()) for weight in weights)
        return {"maps": len(weights), "weights": sum(map(torch.numel, weights)), "zeros": zeros, **self.counts}


def linear_maps(model: nn.Module) -> Iterator[nn.Linear]:
    """Those of the layers: of attention and of feed-forward layers, not of embeddings and heads."""
    for name, module in model.named_modules():
        if ".layers." in f".{name}" and type(module) is nn.Linear:
            yield module
