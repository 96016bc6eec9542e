"""Settings of fine-tuning: [finetuning], with one sub-table per method other than plain fine-tuning."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from leanformer.records.difference import Difference, difference
from leanformer.settings.table import Table


@dataclass(frozen=True, kw_only=True)
class AbsgdSettings(Table):
    """Settings of `loss = "absgd"`, in which examples are weighted by exp(loss / temperature)."""

    table = "finetuning.absgd"

    temperature: float = 5.0
    """lambda: above 0 hard examples get more weight, below 0 less; large absolute values give nearly equal weights."""
    rate: float = 0.9
    """gamma: the weight of the new batch in the running normaliser; 1: each batch has its own normaliser."""
    warmup_epochs: float = 1.0
    """The number of epochs with the mean loss before weighting begins."""

    def __post_init__(self) -> None:
        self._require("temperature", self.temperature != 0, "must not be 0: above it hard examples count more")
        self._require("rate", 0 < self.rate <= 1, "is a share, above 0 and at most 1")
        self._require("warmup_epochs", self.warmup_epochs >= 0, "must not be negative")


@dataclass(frozen=True, kw_only=True)
class RegslSettings(Table):
    """Settings of regularised self-labelling; each part is off unless it is given a number."""

    table = "finetuning.regsl"

    distance: float | None = None
    """D: the largest distance of a matrix of the first layer from its initial value (Frobenius norm)."""
    growth: float = 1.0
    """g: the largest distance of a matrix of layer l, counted from 0, is D g^l."""
    head_distance: float | None = None
    """The largest Frobenius norm of the head's matrix."""
    reweight_from: float | None = None
    """The number of epochs after which examples that fit their label get more weight."""
    reweight_temperature: float = 2.0
    """The initial tau; the larger it is, the more equal are the weights of the examples."""
    correct_from: float | None = None
    """The number of epochs after which labels are replaced if the model is confident of another label."""
    correct_above: float = 0.9
    """The probability of the other label above which a label is replaced."""

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
    """Settings of `method = "pst"` and `"magnitude"`, of which magnitude uses only `sparsity`."""

    table = "finetuning.sparse"

    sparsity: float = 0.9
    """The final fraction of zeros among the weights of each linear map of the encoder."""
    update_rank: int = 8
    """r1, the rank of the update U V of the frozen weights."""
    score_rank: int = 8
    """r2, the rank of the data-driven importance A B; 0: without it."""
    update_scale: float = 1.0
    """beta, the factor of the update U V."""
    score_scale: float = 1.0
    """alpha_1, the factor of the importance A B."""
    structure_scale: float = 1.0
    """alpha_2, the factor of the importance of rows and columns; 0: without it."""
    train_head: bool = True
    """Whether the head and the pooler are trained, too; in the authors' code they keep their initial values."""

    def __post_init__(self) -> None:
        self._require("sparsity", 0 <= self.sparsity < 1, "is a share, from 0 to less than 1")
        self._require("update_rank", self.update_rank > 0, "must be positive")
        self._require("score_rank", self.score_rank >= 0, "must not be negative")
        for key in ("update_scale", "score_scale"):
            self._require(key, getattr(self, key) > 0, "must be positive")
        self._require("structure_scale", self.structure_scale >= 0, "must not be negative")


@dataclass(frozen=True, kw_only=True)
class FinetuningSettings(Table):
    """Settings of fine-tuning on a task; the score is that of the last step, never that of the best step."""

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
    """The number of training examples to use, chosen by seed 0 and reported with the score. None: all."""
    max_eval_examples: int | None = None
    """The number of examples of each split to score, chosen by seed 0 and reported with the score. None: all."""
    loss: Literal["mean", "balanced", "absgd"] = "mean"
    """How the losses of a batch's examples are combined; balanced gives all classes the same weight."""
    method: Literal["dense", "pst", "magnitude"] = "dense"
    """Which weights are trained, and whether many of them become zero."""
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
        """Returns the settings for records.

        Settings of methods other than the plain one are included only if they are used, so that the records of plain
        runs equal those from before these methods existed.
        """
        absgd, sparse, regsl = self.loss == "absgd", self.method != "dense", self.regsl != RegslSettings()
        used = {"loss": self.loss != "mean", "absgd": absgd, "method": sparse, "sparse": sparse, "regsl": regsl}
        return {key: value for key, value in asdict(self).items() if used.get(key, True)}


def other_settings(record: Mapping[str, Any], settings: FinetuningSettings) -> Difference | None:
    """Returns the first setting, except the number of threads, that differs in the record of a fine-tuning.

    A record may name settings of a later version.
    """
    plain = asdict(FinetuningSettings())
    now = plain | settings.to_dict()
    before = plain | ((record.get("settings") or {}).get("finetuning") or {})
    old, new = ({f"finetuning.{key}": of.get(key) for key in sorted(now)} for of in (before, now))
    return difference(old, new, free=("finetuning.threads",))
