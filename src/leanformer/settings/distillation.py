"""The settings of distillation, the table [distillation]."""

import math
from dataclasses import MISSING, dataclass, field, fields
from typing import Literal

from leanformer.settings.table import Table
from leanformer.spelling import suggest


@dataclass(frozen=True, kw_only=True)
class DistillationSettings(Table):
    """Settings of distillation; budget and learning rate are in `TrainingSettings`."""

    method: Literal["logits", "minilm", "minilm2", "vectors"] = "logits"
    """What the student learns: logits at masked tokens, token relations in one attention layer, or vectors of texts."""
    masked_lm_weight: float = 0.5
    """The weight w of the masked-LM loss in w masked_lm + (1 - w) distillation; 1: the teacher is not used."""
    temperature: float = 1.0
    """logits only: the temperature of both distributions."""
    relation_heads: int | None = None
    """minilm2 only: the number of relation heads; None: the teacher's number of heads."""
    teacher_layer: int | None = None
    """minilm and minilm2 only: the layer of the teacher, counted from 1; None: the last layer."""
    student_layer: int | None = None
    """minilm and minilm2 only: the layer of the student, counted from 1; None: the last layer."""
    vector_losses: dict[str, float] = field(default_factory=lambda: {"cosine": 1.0})
    """vectors only: the weights of the losses cosine, mse, similarity and ranking; 0: the loss is not used."""
    similarity_temperature: float = 0.05
    """vectors only: the temperature of the cosines in the loss `ranking`."""
    anneal: float = 0.0
    """The fraction of the budget in which attention changes from the teacher's to the student's; 0: at once."""
    share_heads: float = 0.0
    """If not 0, this fraction of the student's heads is drawn to the most similar heads (PostShare)."""
    share_weight: float = 1.0
    """The weight of the mean distance of these heads in the loss."""

    def __post_init__(self) -> None:
        self._require("masked_lm_weight", 0 <= self.masked_lm_weight <= 1, "is a share, from 0 to 1")
        self._require("temperature", self.temperature > 0, "must be positive")
        self._require("anneal", 0 <= self.anneal < 1, "is a fraction of the budget, from 0 to less than 1")
        self._require("share_heads", 0 <= self.share_heads < 1, "is a share of all heads, from 0 to less than 1")
        self._require("share_weight", self.share_weight > 0, "must be positive")
        alone = self.share_weight != DistillationSettings.share_weight and not self.share_heads
        self._require("share_weight", not alone, "has no effect without distillation.share_heads: leave it out")
        self._require("similarity_temperature", self.similarity_temperature > 0, "must be positive")
        for name, weight in self.vector_losses.items():
            if name not in VECTOR_LOSSES:
                raise ValueError(f"distillation.vector_losses.{name}: {suggest(name, VECTOR_LOSSES)}")
            if not 0 <= weight < math.inf:
                raise ValueError(
                    f"distillation.vector_losses.{name} = {weight!r}: must be a number that is not negative"
                )
        self._require("vector_losses", any(self.vector_losses.values()), "has no weight above 0: give a loss one")
        for key in ("relation_heads", "teacher_layer", "student_layer"):
            self._require(key, getattr(self, key) is None or getattr(self, key) > 0, "must be positive")
        for each in fields(self):
            default = each.default if each.default_factory is MISSING else each.default_factory()
            key, methods = each.name, APPLIES.get(each.name, (self.method,))
            idle = getattr(self, key) == default or self.method in methods
            self._require(key, idle, f"has no effect on distillation.method = {self.method!r}: leave it out")


VECTOR_LOSSES = ("cosine", "mse", "similarity", "ranking")
"""The losses between sentence vectors (`distillation/vectors/losses.py`)."""
APPLIES = {
    "temperature": ("logits",),
    "vector_losses": ("vectors",),
    "similarity_temperature": ("vectors",),
    "masked_lm_weight": ("logits", "minilm", "minilm2"),
    "anneal": ("logits", "minilm", "minilm2"),
    "share_heads": ("logits", "minilm", "minilm2"),
    "relation_heads": ("minilm2",),
    "teacher_layer": ("minilm", "minilm2"),
    "student_layer": ("minilm", "minilm2"),
}
"""The methods that use a setting, for settings that not all methods use."""
