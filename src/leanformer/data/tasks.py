"""The table of fine-tuning tasks.

The nine tasks of GLUE (Wang et al., 2019) have the columns and the label order of their hub copy (nyu-mll/glue) and
their official metrics, those of SuperGLUE (Wang et al., 2019b) have those of aps/super_glue. The orders differ: 1 is
*entailment* in wnli, *not_entailment* in rte and qnli, *contradiction* in cb, *neutral* in mnli.

Another task is added as one more entry, here or in a plug-in file:

    register_task(Task("reviews", columns=("text",), labels=("neg", "pos"), metrics=("accuracy",)))

Its data are then read from DIR/reviews/train.jsonl and DIR/reviews/validation.jsonl (see `examples.py`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from leanformer.data import templates
from leanformer.spelling import suggest

KINDS = {
    "classification": ("accuracy", "f1", "macro_f1", "matthews", "em"),
    "regression": ("pearson", "spearman"),
    "multiple_choice": ("accuracy",),
    "span": ("exact_match", "token_f1"),
    "multi_label": ("micro_f1", "macro_f1"),
    "token_classification": ("entity_f1", "entity_precision", "entity_recall", "token_accuracy"),
}
"""The metrics of each kind."""
ERRORS = ("mae", "rmse")
"""Metrics of a regression that are reported, but are no part of a score: less is better."""


@dataclass(frozen=True)
class Task:
    """A task: texts from the `columns` of a row, or from `template`, and the answer in `label_column`. By kind:

        classification     one text or a pair             one of `labels`
        regression         one text or a pair             a number, within `bounds`; the kind of a task without labels
        multiple_choice    a text, then its choices       the right one of `labels`, one label per choice
        span               a question, then its context   {"text": [...], "answer_start": [...]}: all right answers
        multi_label        one text or a pair             any number of `labels`
        token_classification    one text                  one of `labels` for every word

    score = mean of `metrics` over the existing `validation` splits. The second label is positive for `f1`; `em` is the
    fraction of groups, rows with equal `group` columns, in which all answers are right.

    Data without a training split are refused, unless `held_out` gives the fraction of the only validation split that is
    scored; then the rest is used for training. `hub` holds the arguments of `datasets.load_dataset`, `folder` the name
    of the data's folder if it is not the task's.

    The fields behind `folder` are for tasks that `own/load.py` makes from a user's file. Metrics in `also` are reported
    and are no part of the score. With `unanswerable`, "" is an answer. With `standardised`, a regression is trained on
    (y - mean) / sd. `words` is the rule of `words.py` that divides a text into words.
    """

    name: str
    columns: tuple[str, ...]
    labels: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ("accuracy",)
    validation: tuple[str, ...] = ("validation",)
    label_column: str = "label"
    bounds: tuple[float, float] | None = None
    hub: tuple[str, ...] = ()
    kind: str = ""
    template: Callable[[Mapping[str, Any]], tuple[str, ...]] | None = None
    group: tuple[str, ...] = ()
    held_out: float | None = None
    folder: str = ""
    also: tuple[str, ...] = ()
    unanswerable: bool = False
    standardised: bool = False
    words: str = ""

    def __post_init__(self) -> None:
        if not self.kind:
            object.__setattr__(self, "kind", "classification" if self.labels else "regression")
        self._require(self.kind in KINDS, f"unknown kind {self.kind!r}: {suggest(self.kind, KINDS)}")
        self._check_columns()
        unique = len(set(self.labels)) == len(self.labels) != 1
        self._require(unique, f"labels = {self.labels}: two or more different names, or none for a regression")
        labelled = self.kind in ("classification", "multiple_choice", "multi_label", "token_classification")
        self._require(bool(self.labels) == labelled, f"a {self.kind} {'needs' if labelled else 'has no'} labels")
        self._require(bool(self.metrics), "metrics are missing")
        known = KINDS[self.kind]
        for metric in (*self.metrics, *(name for name in self.also if name not in ERRORS)):
            self._require(metric in known, f"unknown metric {metric!r} of a {self.kind}: {suggest(metric, known)}")
        self._require("f1" not in self.metrics or len(self.labels) == 2, "f1 needs two labels; take macro_f1")
        grouped = bool(self.group) and len(self.labels) == 2
        self._require("em" not in self.metrics or grouped, "em needs two labels, and the columns of a group")
        self._require(set(self.group) <= set(self.columns), f"group = {self.group}: some of the columns")
        divisible = self.held_out is None or 0 < self.held_out < 1 == len(self.validation)
        self._require(divisible, "held_out lies between 0 and 1, and is of one validation split")

    def _check_columns(self) -> None:
        if self.template is not None:
            return
        choices = 1 + len(self.labels)
        least, most, rule = {
            "multiple_choice": (choices, choices, "a text, then one column per choice"),
            "span": (2, 2, "a question and its context"),
            "token_classification": (1, 1, "one text"),
        }.get(self.kind, (1, 2, "one text or a pair of texts"))
        self._require(least <= len(self.columns) <= most, f"columns = {self.columns}: {rule}")

    def to_dict(self) -> dict[str, Any]:
        """Returns the task of a user's file for records; `of_dict` makes the same task of it."""
        found = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "template"}
        return {key: list(value) if isinstance(value, tuple) else value for key, value in found.items()}

    @classmethod
    def of_dict(cls, found: Mapping[str, Any]) -> "Task":
        """Returns the task of a record, in which tuples have become lists."""
        fields: dict[str, Any] = {key: tuple(of) if isinstance(of, list) else of for key, of in found.items()}
        return cls(**fields)

    def _require(self, holds: bool, rule: str) -> None:
        if not holds:
            raise ValueError(f"task {self.name!r}: {rule}")


_TASKS: dict[str, Task] = {}


def register_task(task: Task) -> Task:
    """Register `task` by its name, possibly again; raises `ValueError` if another task has that name."""
    if _TASKS.setdefault(task.name, task) != task:
        raise ValueError(f"task {task.name!r} is registered already, with other columns, labels or metrics: rename one")
    return task


def task(name: str) -> Task:
    """Returns the task `name`; raises `ValueError` with the nearest known name if there is none."""
    if name not in _TASKS:
        hint = "another one is made known by register_task, in a file given with --plugin"
        raise ValueError(f"unknown task {name!r}: {suggest(name, _TASKS)}; {hint}")
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
_FALSE_TRUE = ("False", "True")
_SUPERGLUE = (
    Task("boolq", ("question", "passage"), _FALSE_TRUE, held_out=0.2),
    Task("cb", ("premise", "hypothesis"), ("entailment", "contradiction", "neutral"), ("accuracy", "macro_f1")),
    Task(
        "copa",
        ("premise", "question", "choice1", "choice2"),
        ("choice1", "choice2"),
        kind="multiple_choice",
        template=templates.copa,
    ),
    Task(
        "multirc",
        ("paragraph", "question", "answer"),
        _FALSE_TRUE,
        ("f1", "em"),
        template=templates.multirc,
        group=("paragraph", "question"),
    ),
    Task("superglue_rte", ("premise", "hypothesis"), ("entailment", "not_entailment"), folder="rte"),
    Task("wic", ("sentence1", "sentence2", "start1", "end1", "start2", "end2"), _FALSE_TRUE, template=templates.wic),
    Task(
        "wsc",
        ("text", "span1_index", "span1_text", "span2_index", "span2_text"),
        _FALSE_TRUE,
        template=templates.wsc,
    ),
)
_OTHERS = (
    Task(
        "squad",
        ("question", "context"),
        metrics=("exact_match", "token_f1"),
        label_column="answers",
        kind="span",
        hub=("rajpurkar/squad",),
    ),
    Task(
        "ag_news",
        ("text",),
        ("World", "Sports", "Business", "Sci/Tech"),
        validation=("test",),
        hub=("fancyzhx/ag_news",),
    ),
    Task("imdb", ("text",), ("negative", "positive"), validation=("test",), hub=("stanfordnlp/imdb",)),
    Task("cr", ("text",), ("negative", "positive")),
    Task("mpqa", ("text",), ("negative", "positive")),
    Task(
        "trec",
        ("text",),
        ("description", "entity", "abbreviation", "human", "location", "number"),
        validation=("test",),
    ),
    Task("hate_offensive", ("text",), ("hate_speech", "offensive", "neither"), ("accuracy", "macro_f1")),
)
for _entry in _GLUE:
    register_task(replace(_entry, hub=("nyu-mll/glue", _entry.name)))
for _entry in _SUPERGLUE:
    register_task(replace(_entry, hub=("aps/super_glue", _entry.folder or _entry.name)))
for _entry in _OTHERS:
    register_task(_entry)
