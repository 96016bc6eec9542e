"""How far the vectors that a converted encoder gives to texts are those of its source."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

TEXTS = 512
"""Most texts whose similarities are compared, pair by pair."""


class Vectors(NamedTuple):
    """Mean-pooled vectors of the same texts by both models, (texts, D)."""

    before: Tensor
    after: Tensor

    def cosine(self) -> float:
        """Returns the mean cosine of the two vectors of a text."""
        return float(F.cosine_similarity(self.before.double(), self.after.double()).mean())

    def spearman(self) -> float | None:
        """Returns the rank correlation of the two models' similarities (cosines) over all pairs of texts; None for
        fewer than three texts."""
        chosen = torch.linspace(0, len(self.before) - 1, min(TEXTS, len(self.before))).long()
        if len(chosen) < 3:
            return None
        ranks = []
        for vectors in self:
            unit = F.normalize(vectors[chosen].double(), dim=-1)
            above = torch.triu_indices(len(unit), len(unit), 1)
            ranks.append((unit @ unit.T)[above[0], above[1]].argsort().argsort().double())
        return float(torch.corrcoef(torch.stack(ranks))[0, 1])
