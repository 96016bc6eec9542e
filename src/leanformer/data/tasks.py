"""The tasks that can be fine-tuned: a table, a short entry each.

The nine of GLUE (Wang et al., 2019) have the columns and the label order of their hub copy (nyu-mll/glue) and their
official metrics. Mind the orders: 1 is *entailment* in wnli, *not_entailment* in rte and qnli.

Another task is one more entry, here or in a plug-in file:

    register_task(Task("reviews", columns=("text",), labels=("neg", "pos"), metrics=("accuracy",)))

Its data are then read from DIR/reviews/train.jsonl and DIR/reviews/validation.jsonl (see `examples.py`).
"""

from dataclasses import dataclass, replace

from leanformer.spelling import suggest

CLASSIFICATION_METRICS = ("accuracy", "f1", "macro_f1", "matthews")
REGRESSION_METRICS = ("pearson", "spearman")


@dataclass(frozen=True)
class Task:
    """One text, or a pair of texts (`columns`), to one of `labels`; without labels, to a number (regression).

    score = mean of `metrics` over those `validation` splits that exist. `f1` takes the second label as positive.
    `bounds` holds the least and the greatest label of a regression; `hub` the arguments of `datasets.load_dataset`.
    """

    name: str
    columns: tuple[str, ...]
    labels: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ("accuracy",)
    validation: tuple[str, ...] = ("validation",)
    label_column: str = "label"
    bounds: tuple[float, float] | None = None
    hub: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self._require(len(self.columns) in (1, 2), f"columns = {self.columns}: one text or a pair of texts")
        unique = len(set(self.labels)) == len(self.labels) != 1
        self._require(unique, f"labels = {self.labels}: two or more different names, or none for a regression")
        self._require(bool(self.metrics), "metrics are missing")
        known = REGRESSION_METRICS if self.regression else CLASSIFICATION_METRICS
        for metric in self.metrics:
            kind = "regression" if self.regression else "classification"
            self._require(metric in known, f"unknown metric {metric!r} of a {kind}: {suggest(metric, known)}")
        self._require("f1" not in self.metrics or len(self.labels) == 2, "f1 needs two labels; take macro_f1")

    def _require(self, holds: bool, rule: str) -> None:
        if not holds:
            raise ValueError(f"task {self.name!r}: {rule}")

    @property
    def regression(self) -> bool:
        return not self.labels

    @property
    def num_outputs(self) -> int:
        return len(self.labels) or 1


_TASKS: dict[str, Task] = {}


def register_task(task: Task) -> Task:
    """Makes `task` known by its name; the same entry again is no news, another one of that name is a `ValueError`."""
    if _TASKS.setdefault(task.name, task) != task:
        raise ValueError(f"task {task.name!r} is registered already, with other columns, labels or metrics: rename one")
    return task


def task(name: str) -> Task:
    """The task called `name`; `ValueError` with the nearest known name if there is none."""
    if name not in _TASKS:
        raise ValueError(f"unknown task {name!r}: {suggest(name, _TASKS)}; another one is made known by register_task")
    return _TASKS[name]


def names() -> list[str]:
    return list(_TASKS)


_GLUE = (
    Task("cola", ("sentence",), ("unacceptable", "acceptable"), ("matthews",)),
    Task("sst2", ("sentence",), ("negative", "positive")),
    Task("mrpc", ("sentence1", "sentence2"), ("not_equivalent", "equivalent"), ("accuracy", "f1")),
    Task("stsb", ("sentence1", "sentence2"), (), ("pearson", "spearman"), bounds=(0.0, 5.0)),
    Task("qqp", ("question1", "question2"), ("not_duplicate", "duplicate"), ("accuracy", "f1")),
    Task(
        "mnli",
        ("premise", "hypothesis"),
        ("entailment", "neutral", "contradiction"),
        validation=("validation_matched", "validation_mismatched"),
    ),
    Task("qnli", ("question", "sentence"), ("entailment", "not_entailment")),
    Task("rte", ("sentence1", "sentence2"), ("entailment", "not_entailment")),
    Task("wnli", ("sentence1", "sentence2"), ("not_entailment", "entailment")),
)
for _entry in _GLUE:
    register_task(replace(_entry, hub=("nyu-mll/glue", _entry.name)))
