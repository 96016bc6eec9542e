"""Settings of fine-tuning: [finetuning], and a sub-table for each way of it that is not the plain one."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from leanformer.records.difference import Difference, difference
from leanformer.settings.table import Table


@dataclass(frozen=True, kw_only=True)
class AbsgdSettings(Table):
    """Of `loss = "absgd"`: examples are weighed by exp(loss / temperature)."""

    table = "finetuning.absgd"

    temperature: float = 5.0
    """lambda: above 0 hard examples count more, below 0 less; the larger its size, the nearer to the mean loss."""
    rate: float = 0.9
    """gamma: the share of the new batch in the running normaliser; 1: each batch for itself."""
    warmup_epochs: float = 1.0
    """Epochs with the mean loss before it."""

    def __post_init__(self) -> None:
        self._require("temperature", self.temperature != 0, "must not be 0: above it hard examples count more")
        self._require("rate", 0 < self.rate <= 1, "is a share, above 0 and at most 1")
        self._require("warmup_epochs", self.warmup_epochs >= 0, "must not be negative")


@dataclass(frozen=True, kw_only=True)
class RegslSettings(Table):
    """Regularised self-labelling: each part is off until it is given a number."""

    table = "finetuning.regsl"

    distance: float | None = None
    """D: how far a matrix of the first layer may go from where it started (Frobenius norm)."""
    growth: float = 1.0
    """g: a matrix of layer l, counted from 0, may go D g^l far."""
    head_distance: float | None = None
    """The greatest Frobenius norm of the head's matrix."""
    reweight_from: float | None = None
    """Epochs after which examples that fit their label count more."""
    reweight_temperature: float = 2.0
    """tau at first: the larger, the more alike all examples count."""
    correct_from: float | None = None
    """Epochs after which a label the model is sure to be another is replaced."""
    correct_above: float = 0.9
    """How sure: the probability it gives to another label."""

    def __post_init__(self) -> None:
        for key in ("distance", "head_distance"):
            self._require(key, getattr(self, key) is None or getattr(self, key) > 0, "must be positive")
        for key in ("growth", "reweight_temperature"):
            self._require(key, getattr(self, key) > 0, "must be positive")
        for key in ("reweight_from", "correct_from"):
            self._require(key, getattr(self, key) is None or getattr(self, key) >= 0, "must not be negative")
        self._require("correct_above", 0 < self.correct_above <= 1, "is a probability, above 0 and at most 1")
        for key, switch in (
            ("growth", "distance"),
            ("reweight_temperature", "reweight_from"),
            ("correct_above", "correct_from"),
        ):
            idle = getattr(self, key) == getattr(RegslSettings, key) or getattr(self, switch) is not None
            self._require(key, idle, f"has no effect without finetuning.regsl.{switch}: give that too")


@dataclass(frozen=True, kw_only=True)
class SparseSettings(Table):
    """Of `method = "pst"` and `"magnitude"`: how many weights end as zeros; the rest is PST's alone."""

    table = "finetuning.sparse"

    sparsity: float = 0.9
    """Share of the weights of each of the encoder's linear maps that are 0 in the end."""
    update_rank: int = 8
    """r1, of the update U V of the frozen weights."""
    score_rank: int = 8
    """r2, of the data-driven importance A B; 0: without it."""
    update_scale: float = 1.0
    """beta"""
    score_scale: float = 1.0
    """alpha_1"""
    structure_scale: float = 1.0
    """alpha_2, of the importance of rows and columns; 0: without it."""
    train_head: bool = True
    """The head learns too, and the pooler; the authors' code leaves them as they were drawn."""

    def __post_init__(self) -> None:
        self._require("sparsity", 0 <= self.sparsity < 1, "is a share, from 0 to less than 1")
        self._require("update_rank", self.update_rank > 0, "must be positive")
        self._require("score_rank", self.score_rank >= 0, "must not be negative")
        for key in ("update_scale", "score_scale"):
            self._require(key, getattr(self, key) > 0, "must be positive")
        self._require("structure_scale", self.structure_scale >= 0, "must not be negative")


@dataclass(frozen=True, kw_only=True)
class FinetuningSettings(Table):
    """Fine-tuning on a task; the score is taken at the end of training, never at the best step on the dev set."""

    epochs: float = 3.0
    batch_size: int = 32
    max_length: int = 128
    learning_rate: float = 5e-5
    weight_decay: float = 0.01
    warmup: float = 0.1
    schedule: Literal["linear", "constant"] = "linear"
    clip_norm: float | None = 1.0
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    threads: int | None = None
    seed: int = 1
    max_train_examples: int | None = None
    """Use only so many training examples, chosen by seed 0: a budget, reported with the score. None: all."""
    max_eval_examples: int | None = None
    """Score only so many examples of each split, chosen by seed 0, and say so. None: all."""
    loss: Literal["mean", "balanced", "absgd"] = "mean"
    """How the losses of a batch's examples become one: balanced weighs all classes alike."""
    method: Literal["dense", "pst", "magnitude"] = "dense"
    """Which weights learn, and whether many of them end as zeros."""
    absgd: AbsgdSettings = field(default_factory=AbsgdSettings)
    regsl: RegslSettings = field(default_factory=RegslSettings)
    sparse: SparseSettings = field(default_factory=SparseSettings)

    def __post_init__(self) -> None:
        for key in ("epochs", "batch_size", "max_length", "learning_rate"):
            self._require(key, getattr(self, key) > 0, "must be positive")
        for key in ("clip_norm", "threads", "max_train_examples", "max_eval_examples"):
            self._require(key, getattr(self, key) is None or getattr(self, key) > 0, "must be positive")
        self._require("warmup", 0 <= self.warmup <= 1, "is a fraction of the budget, from 0 to 1")
        self._require("weight_decay", self.weight_decay >= 0, "must not be negative")
        absgd, sparse = self.loss == "absgd", self.method != "dense"
        if not absgd and self.absgd != AbsgdSettings():
            raise ValueError(f"[finetuning.absgd] has no effect on finetuning.loss = {self.loss!r}: set that to absgd")
        if not sparse and self.sparse != SparseSettings():
            raise ValueError("[finetuning.sparse] has no effect on finetuning.method = 'dense': set that to pst")
        if self.method == "magnitude" and self.sparse != SparseSettings(sparsity=self.sparse.sparsity):
            raise ValueError("[finetuning.sparse]: of method magnitude only sparsity is a setting, leave out the rest")
        if absgd and self.regsl.reweight_from is not None:
            raise ValueError("finetuning.loss = 'absgd' and finetuning.regsl.reweight_from both weigh: choose one")
        if sparse and (self.regsl.distance or self.regsl.head_distance):
            raise ValueError(f"finetuning.method = {self.method!r}: distances are for dense, leave out regsl's")

    def to_dict(self) -> dict[str, Any]:
        """For records: what belongs to ways that are not plain only where they are used, so that plain runs, and
        studies, from before there were any are still the same ones."""
        absgd, sparse, regsl = self.loss == "absgd", self.method != "dense", self.regsl != RegslSettings()
        used = {"loss": self.loss != "mean", "absgd": absgd, "method": sparse, "sparse": sparse, "regsl": regsl}
        return {key: value for key, value in asdict(self).items() if used.get(key, True)}


def other_settings(record: Mapping[str, Any], settings: FinetuningSettings) -> Difference | None:
    """The first of the settings, how many threads there are aside, with which the fine-tuning of the record was not
    made. A record may name settings of a later version."""
    plain = asdict(FinetuningSettings())
    now = plain | settings.to_dict()
    before = plain | ((record.get("settings") or {}).get("finetuning") or {})
    old, new = ({f"finetuning.{key}": of.get(key) for key in sorted(now)} for of in (before, now))
    return difference(old, new, free=("finetuning.threads",))
