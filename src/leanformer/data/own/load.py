"""A labelled file as a task with its examples: read, checked, divided, and described for the run's record."""

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from leanformer.data import conll, tags
from leanformer.data.decoding import kind as kind_of_file
from leanformer.data.examples import Examples
from leanformer.data.own import files, kinds, values
from leanformer.data.own.split import held_out
from leanformer.data.tasks import Task
from leanformer.spelling import suggest

METRICS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "single": (("accuracy",), ("macro_f1",)),
    "multi": (("micro_f1",), ("macro_f1",)),
    "regression": (("pearson",), ("spearman", "mae", "rmse")),
    "tokens": (("entity_f1",), ("entity_precision", "entity_recall", "token_accuracy")),
    "questions": (("exact_match", "token_f1"), ()),
}
"""(The metrics whose mean is the score, the metrics beside it) of each kind."""
BALANCED = ("macro_f1",)
"""The score where class weights are balanced: all classes count the same there, too."""


@dataclass(frozen=True)
class OwnFiles:
    """The user's files, and what was said about them; empty values are found from the data."""

    data: Path
    text: tuple[str, ...] = ()
    label: tuple[str, ...] = ()
    kind: str | None = None
    validation: Path | None = None
    test: Path | None = None
    split_seed: int = 0


class OwnTask(NamedTuple):
    task: Task
    train: Examples
    validation: Examples
    test: Examples | None
    record: dict[str, Any]
    """The part of run.json on the files: their paths, the seed of the split, and how often each label occurs."""
    notes: list[str]
    """Sentences for readers of the scores."""


class _Part(NamedTuple):
    """The rows of one file: N texts and labels."""

    path: Path
    texts: list[tuple[str, ...]]
    values: list[Any]
    places: list[str]


def load(own: OwnFiles, *, balanced: bool = False) -> OwnTask:
    """Returns the task that the files describe; `balanced` makes macro F1 the score where there is one.

    Raises ValueError or OSError of one line for files that cannot be read, or that hold no such task.
    """
    if own.kind is not None and own.kind not in kinds.KINDS:
        raise ValueError(f"--kind {own.kind}: {suggest(own.kind, kinds.KINDS)}")
    rows = files.read(own.data)
    text, label = files.columns(own.data, list(rows[0][1]), own.text, own.label)
    kind, shown = own.kind or "", "by --kind"
    if not kind:
        kind, shown = _inferred(own.data, rows, text, label)
    parts = {"train": _part(own.data, rows, kind, text, label)}
    for split, path in (("validation", own.validation), ("test", own.test)):
        if path is not None:
            more = files.read(path)
            columns = files.columns(path, list(more[0][1]), text, label)
            parts[split] = _part(path, more, kind, *columns)
    notes = [f"{own.data.name} is a task of the kind {kind}: {shown}"]
    parts, entities = _same_tags(parts) if kind == "tokens" else (parts, True)
    names = _names(kind, parts)
    task = _task(own, rows, kind, text, label, names, parts, entities, balanced)
    examples = {split: _examples(task, part) for split, part in parts.items()}
    if "validation" not in examples:
        examples |= _divided(own, kind, parts["train"], examples["train"], notes)
    notes += _leaks(examples) + _contradictions(examples["train"])
    record = {
        "kind": kind,
        "text": list(text),
        "label": list(label),
        "files": {split: str(part.path) for split, part in parts.items()},
        "split_seed": None if own.validation else own.split_seed,
        "labels": {split: _counts(task, part) for split, part in examples.items()},
    }
    return OwnTask(task, examples["train"], examples["validation"], examples.get("test"), record, notes)


def _inferred(path: Path, rows: files.Placed, text: Sequence[str], label: Sequence[str]) -> tuple[str, str]:
    found = [[kinds.as_list(row.get(name)) for name in label] for _, row in rows]
    try:
        return kinds.kind_of([row.get(text[0]) for _, row in rows], found, label)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _part(path: Path, rows: files.Placed, kind: str, text: Sequence[str], label: Sequence[str]) -> _Part:
    read = [values.read(kind, row, text, label, place) for place, row in rows]
    return _Part(path, [texts for texts, _ in read], [value for _, value in read], [place for place, _ in rows])


def _same_tags(parts: dict[str, _Part]) -> tuple[dict[str, _Part], bool]:
    """Returns the parts with tags in IOB2, and whether the tags mark entities."""
    every = [value["tags"] for part in parts.values() for value in part.values]
    try:
        found = tags.normalised(every)
    except ValueError as error:
        raise ValueError(f"{parts['train'].path}: {error}") from None
    if found is None:
        return parts, False
    sequences = iter(found)
    return {
        split: part._replace(values=[value | {"tags": next(sequences)} for value in part.values])
        for split, part in parts.items()
    }, True


def _labels_of(kind: str, value: Any) -> list[str]:
    """Returns the names of the labels in the value of a row; of tags, the types of entities."""
    if kind == "single":
        return [value]
    return [tag.partition("-")[2] or tag for tag in value["tags"]] if kind == "tokens" else list(value)


def _names(kind: str, parts: dict[str, _Part]) -> list[str]:
    """Returns the names of the labels in training, numbers by size and others by the alphabet.

    Raises ValueError for fewer than two, and for a label that another file has and training does not.
    """
    if kind in ("regression", "questions"):
        return []
    train = parts["train"]
    known = {name for value in train.values for name in _labels_of(kind, value)}
    least = 1 if kind == "tokens" and known - {tags.OUTSIDE} else 2
    if len(known) < least:
        only = f"{next(iter(known))!r} alone" if known else "none"
        raise ValueError(f"{train.path} has one label or none ({only}): at least two are needed to learn a difference")
    for part in parts.values():
        for place, value in zip(part.places, part.values, strict=True):
            if new := [name for name in _labels_of(kind, value) if name not in known]:
                raise ValueError(f"{place}: no training row has the label {new[0]!r}: add one, or drop these rows")
    numeric = all(kinds.number(name) is not None for name in known)
    return sorted(known, key=(lambda name: (kinds.number(name), name)) if numeric else None)


def _task(
    own: OwnFiles,
    rows: files.Placed,
    kind: str,
    text: tuple[str, ...],
    label: tuple[str, ...],
    names: list[str],
    parts: dict[str, _Part],
    entities: bool,
    balanced: bool,
) -> Task:
    metrics, also = METRICS[kind]
    given = kind == "tokens" and isinstance(kinds.as_list(rows[0][1][text[0]]), list)
    if kind == "tokens" and not entities:
        metrics, also = ("token_accuracy",), ()
    if kind == "tokens" and entities:
        types = [name for name in names if name != tags.OUTSIDE]
        names = [tags.OUTSIDE, *(f"{prefix}-{name}" for name in types for prefix in "BI")]
    if balanced and also == BALANCED:
        metrics, also = also, metrics
    if kind_of_file(own.data) in conll.SUFFIXES:
        text = ("text",)  # the rows of such a file have no names of their own, and users predict on texts
    unanswerable = kind == "questions" and any(not value["text"] for p in parts.values() for value in p.values)
    try:
        return Task(
            own.data.name.partition(".")[0] or "own",
            text,
            tuple(names),
            metrics,
            label_column=",".join(label),
            kind=kinds.KINDS[kind],
            also=also,
            unanswerable=unanswerable,
            standardised=kind == "regression",
            words="coarse" if given else "fine" if kind == "tokens" else "",
        )
    except ValueError as error:
        raise ValueError(f"{own.data}: {error}") from None


def _examples(task: Task, part: _Part) -> Examples:
    places = {name: i for i, name in enumerate(task.labels)}
    labels: NDArray[Any]
    if task.kind == "classification":
        labels = np.array([places[value] for value in part.values], dtype=np.int64)
    elif task.kind == "multi_label":
        labels = np.array([[int(name in value) for name in task.labels] for value in part.values], dtype=np.int64)
    elif task.kind == "regression":
        labels = np.array(part.values, dtype=np.float64)
    else:
        labels = np.empty(len(part.values), dtype=object)
        labels[:] = part.values
    return Examples(part.texts, labels)


def _divided(own: OwnFiles, kind: str, part: _Part, whole: Examples, notes: list[str]) -> dict[str, Examples]:
    strata: list[Hashable] = [0] * len(part.texts)
    if kind in ("single", "multi"):
        strata = [value if kind == "single" else tuple(sorted(value)) for value in part.values]
    units = [texts[1:] for texts in part.texts] if kind == "questions" else part.texts
    chosen = held_out(units, strata, own.split_seed)
    if not chosen.any() or chosen.all():
        count = f"{len(chosen)} row{'s' * (len(chosen) > 1)} of {len(set(strata))} kind{'s' * (len(set(strata)) > 1)}"
        raise ValueError(f"{own.data} has {count}, too few to divide: add rows, or give --validation FILE")
    notes.append(
        f"{own.data.name}: {(~chosen).sum():,} rows are for training and {chosen.sum():,} for validation, by a hash of "
        f"their texts and the seed {own.split_seed} (--split-seed)"
    )
    return {"train": whole.where(~chosen), "validation": whole.where(chosen)}


def _leaks(examples: dict[str, Examples]) -> list[str]:
    """Returns notes on texts of other splits that are training texts, too."""
    known = set(examples["train"].texts)
    notes = []
    for split, part in examples.items():
        if split != "train" and (seen := sum(texts in known for texts in part.texts)):
            share = f"{seen:,} of {len(part.texts):,} {split} rows"
            notes.append(f"{share} have a text of training, too: their scores are better than those of new texts")
    return notes


def _contradictions(train: Examples) -> list[str]:
    found: dict[tuple[str, ...], set[str]] = {}
    for texts, label in zip(train.texts, train.labels.tolist(), strict=True):
        found.setdefault(texts, set()).add(repr(label))
    count = sum(len(labels) > 1 for labels in found.values())
    return [f"training texts that occur with different labels: {count:,}"] if count else []


def _counts(task: Task, part: Examples) -> dict[str, int] | None:
    """Returns how often each label occurs; of tokens, how many entities (or words) of each type."""
    if task.kind == "classification":
        counted = np.bincount(part.labels, minlength=len(task.labels))
        return dict(zip(task.labels, counted.tolist(), strict=True))
    if task.kind == "multi_label":
        return dict(zip(task.labels, part.labels.sum(0).tolist(), strict=True))
    if task.kind == "token_classification":
        if tags.OUTSIDE not in task.labels:
            return dict(Counter(tag for label in part.labels for tag in label["tags"]))
        return dict(Counter(found.label for label in part.labels for found in tags.entities(label["tags"])))
    return None
