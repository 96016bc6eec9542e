"""How far a matrix may go from where fine-tuning started (Li & Zhang, 2021; their bound on the error of a fine-tuned
model grows with these distances). After every step of the optimizer, for a matrix W of layer l that started at W_0:

    W  <-  W_0 + (W - W_0) min(1, D_l / ||W - W_0||),    D_l = D g^l
    W_head  <-  W_head min(1, D_head / ||W_head||)

in Frobenius norms. Layers are counted from 0, embeddings and what all layers share go with layer 0, and the pooler
follows the last one. Whatever has two or more axes counts as a matrix, each by itself as in the authors' code (the
paper bounds a layer as one); vectors are free. A matrix within its bound stays bit by bit what the optimizer made it.
"""

import re

import torch
from torch import Tensor, nn

from leanformer.settings import FinetuningSettings
from leanformer.training.run.callback import Callback

SLACK = 1e-6
"""Relative: rounding of a projected matrix is not projected once more."""


class DistanceConstraint(Callback):
    """Of the matrices of `model` as they are now; `head` are prefixes of the head's names. A bound of None: none."""

    name = "distance"

    def __init__(
        self,
        model: nn.Module,
        head: tuple[str, ...],
        distance: float | None,
        growth: float,
        head_distance: float | None,
    ) -> None:
        matrices = {name: each for name, each in model.named_parameters() if each.ndim >= 2 and each.requires_grad}
        depth = 1 + max((_layer(name) for name in matrices), default=0)
        self.bounds: dict[Tensor, tuple[Tensor | None, float]] = {}
        """(where it started, or None for 0; how far it may go)"""
        for name, matrix in matrices.items():
            if name.startswith(head):
                if head_distance is not None:
                    self.bounds[matrix] = None, head_distance
            elif distance is not None:
                layer = depth if ".pooler." in name else _layer(name)
                self.bounds[matrix] = matrix.detach().clone(), distance * growth**layer

    @classmethod
    def of(cls, model: nn.Module, head: tuple[str, ...], settings: FinetuningSettings) -> "DistanceConstraint":
        own = settings.regsl
        return cls(model, head, own.distance, own.growth, own.head_distance)

    @torch.no_grad()
    def after_step(self, step: int) -> None:
        for matrix, (start, bound) in self.bounds.items():
            if start is not None and start.device != matrix.device:
                start = start.to(matrix.device)
                self.bounds[matrix] = start, bound
            way = matrix if start is None else matrix - start
            length = torch.linalg.vector_norm(way)
            near = way * (bound / length) if start is None else start + way * (bound / length)
            matrix.copy_(torch.where(length > bound * (1 + SLACK), near, matrix))


def _layer(name: str) -> int:
    """encoder.layers.3.feed_forward.up.weight: 3."""
    found = re.search(r"(?:^|\.)layers\.(\d+)\.", name)
    return int(found[1]) if found else 0
