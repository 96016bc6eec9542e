"""A labelled file as a task with its examples: read, checked, divided, and described for the run's record."""

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from leanformer.data import conll, tags
from leanformer.data.decoding import kind as kind_of_file
from leanformer.data.examples import Examples
from leanformer.data.own import files, kinds, values
from leanformer.data.own.findings import contradictions, counts, leaks
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


class _Rows(NamedTuple):
    """The rows of all files."""

    kind: str
    text: tuple[str, ...]
    label: tuple[str, ...]
    parts: dict[str, _Part]
    words: str = ""
    """The rule that divides a text of tokens into words (`data/words.py`)."""
    entities: bool = False
    """Whether the tags of tokens mark entities."""


def load(own: OwnFiles, *, balanced: bool = False) -> OwnTask:
    """Returns the task that the files describe; `balanced` makes macro F1 the score where there is one.

    Raises ValueError or OSError of one line for files that cannot be read, or that hold no such task.
    """
    if own.kind is not None and own.kind not in kinds.KINDS:
        raise ValueError(f"--kind {own.kind}: {suggest(own.kind, kinds.KINDS)}")
    found, reason = _read(own)
    notes = [f"{own.data.name} is a task of the kind {found.kind}, {reason}"]
    task = _task(own, found, balanced)
    examples = {split: _examples(task, part) for split, part in found.parts.items()}
    if "validation" not in examples:
        examples |= _divided(own, found.kind, found.parts["train"], examples["train"], notes)
    notes += leaks(examples) + contradictions(examples["train"])
    record = {
        "kind": found.kind,
        "text": list(found.text),
        "label": list(found.label),
        "files": {split: str(part.path) for split, part in found.parts.items()},
        "split_seed": None if own.validation else own.split_seed,
        "labels": {split: counts(task, part) for split, part in examples.items()},
    }
    return OwnTask(task, examples["train"], examples["validation"], examples.get("test"), record, notes)


def read_more(task: Task, record: Mapping[str, Any], path: Path) -> Examples:
    """Returns the examples of another file for a task that `load` made, from the record that it returned.

    Raises ValueError for a label that the task does not have.
    """
    kind = record["kind"]
    rows = files.read(path)
    part = _part(path, rows, kind, *files.columns(path, list(rows[0][1]), record["text"], record["label"]))
    entities = kind == "tokens" and tags.OUTSIDE in task.labels
    if entities:
        part = _same_tags({"train": part}, entities=True)[0]["train"]
    known = {label.partition("-")[2] or label for label in task.labels} if entities else set(task.labels)
    _require_known(kind, part, known, entities, "the model does not know the label {!r}: drop these rows")
    return _examples(task, part)


def training_texts(record: Mapping[str, Any]) -> set[tuple[str, ...]]:
    """Returns the texts that `load` took for training, from the record that it returned and the file itself.

    Raises OSError or ValueError if the file is no longer there, or no longer holds these columns.
    """
    path, kind = Path(record["files"]["train"]), record["kind"]
    rows = files.read(path)
    part = _part(path, rows, kind, *files.columns(path, list(rows[0][1]), record["text"], record["label"]))
    if record["split_seed"] is None:
        return set(part.texts)
    *_, chosen = _chosen(kind, part, record["split_seed"])
    return {texts for texts, validation in zip(part.texts, chosen.tolist(), strict=True) if not validation}


def _read(own: OwnFiles) -> tuple[_Rows, str]:
    """Returns the rows of all files as one kind of task, and what shows this kind."""
    rows = files.read(own.data)
    text, label = files.columns(own.data, list(rows[0][1]), own.text, own.label)
    kind, reason = own.kind, "as --kind says"
    if kind is None:
        values_of = [[kinds.as_list(row.get(name)) for name in label] for _, row in rows]
        try:
            kind, shown = kinds.kind_of([row.get(text[0]) for _, row in rows], values_of, label)
        except ValueError as error:
            raise ValueError(f"{own.data}: {error}") from None
        reason = f"since {shown} (--kind gives another one)"
    parts = {"train": _part(own.data, rows, kind, text, label)}
    for split, path in (("validation", own.validation), ("test", own.test)):
        if path is not None:
            others = files.read(path)
            parts[split] = _part(path, others, kind, *files.columns(path, list(others[0][1]), text, label))
    if kind != "tokens":
        return _Rows(kind, text, label, parts), reason
    given = isinstance(kinds.as_list(rows[0][1][text[0]]), list)
    parts, entities = _same_tags(parts)
    return _Rows(kind, text, label, parts, "coarse" if given else "fine", entities), reason


def _part(path: Path, rows: files.Placed, kind: str, text: Sequence[str], label: Sequence[str]) -> _Part:
    read = [values.read(kind, row, text, label, place) for place, row in rows]
    return _Part(path, [texts for texts, _ in read], [value for _, value in read], [place for place, _ in rows])


def _same_tags(parts: dict[str, _Part], *, entities: bool = False) -> tuple[dict[str, _Part], bool]:
    """Returns the parts with tags in IOB2, and whether the tags mark entities, as they must if `entities`."""
    every = [value["tags"] for part in parts.values() for value in part.values]
    if (odd := tags.without_prefix(every)) is not None:
        rows = (row for part in parts.values() for row in zip(part.places, part.values, strict=True))
        place = next(place for place, value in rows if odd in value["tags"])
        raise ValueError(f"{place}: tag {odd!r} has no prefix, but others have: write all as O, B-TYPE and I-TYPE")
    found = tags.normalised(every, mark_entities=entities)
    if found is None:
        return parts, False
    sequences = iter(found)
    return {
        split: part._replace(values=[value | {"tags": next(sequences)} for value in part.values])
        for split, part in parts.items()
    }, True


def _labels_of(kind: str, value: Any, entities: bool) -> list[str]:
    """Returns the names of the labels in the value of a row; of tags that mark entities, their types."""
    if kind in ("regression", "questions"):
        return []
    if kind == "single":
        return [value]
    if kind == "tokens":
        return [tag.partition("-")[2] or tag for tag in value["tags"]] if entities else list(value["tags"])
    return list(value)


def _names(kind: str, parts: dict[str, _Part], entities: bool) -> list[str]:
    """Returns the names of the labels in training, numbers by size and others by the alphabet.

    Raises ValueError for fewer than two, and for a label that another file has and training does not.
    """
    if kind in ("regression", "questions"):
        return []
    train = parts["train"]
    known = {name for value in train.values for name in _labels_of(kind, value, entities)}
    least = 1 if entities and known - {tags.OUTSIDE} else 2
    if len(known) < least:
        only = f"{next(iter(known))!r} alone" if known else "none"
        raise ValueError(f"{train.path} has one label or none ({only}): at least two are needed to learn a difference")
    for part in parts.values():
        _require_known(kind, part, known, entities, "no training row has the label {!r}: add one, or drop these rows")
    numeric = all(kinds.number(name) is not None for name in known)
    return sorted(known, key=(lambda name: (kinds.number(name), name)) if numeric else None)


def _require_known(kind: str, part: _Part, known: Collection[str], entities: bool, message: str) -> None:
    for place, value in zip(part.places, part.values, strict=True):
        if new := [name for name in _labels_of(kind, value, entities) if name not in known]:
            raise ValueError(f"{place}: {message.format(new[0])}")


def _task(own: OwnFiles, found: _Rows, balanced: bool) -> Task:
    kind, text, names = found.kind, found.text, _names(found.kind, found.parts, found.entities)
    metrics, also = METRICS[kind]
    if kind == "tokens" and not found.entities:
        metrics, also = ("token_accuracy",), ()
    if found.entities:
        types = [name for name in names if name != tags.OUTSIDE]
        names = [tags.OUTSIDE, *(f"{prefix}-{name}" for name in types for prefix in "BI")]
    if balanced and also == BALANCED:
        metrics, also = also, metrics
    if kind_of_file(own.data) in conll.SUFFIXES:
        text = ("text",)  # the rows of such a file have no names of their own, and users predict on texts
    every = [value for part in found.parts.values() for value in part.values]
    try:
        return Task(
            own.data.name.partition(".")[0] or "own",
            text,
            tuple(names),
            metrics,
            label_column=",".join(found.label),
            kind=kinds.KINDS[kind],
            also=also,
            unanswerable=kind == "questions" and any(not value["text"] for value in every),
            standardised=kind == "regression",
            words=found.words,
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


def _chosen(kind: str, part: _Part, seed: int) -> tuple[list[tuple[str, ...]], list[Hashable], NDArray[np.bool_]]:
    """Returns what stays together, the strata, and which rows are for validation."""
    strata: list[Hashable] = [0] * len(part.texts)
    if kind in ("single", "multi"):
        strata = [value if kind == "single" else tuple(sorted(value)) for value in part.values]
    units = [texts[1:] for texts in part.texts] if kind == "questions" else part.texts
    return units, strata, held_out(units, strata, seed)


def _divided(own: OwnFiles, kind: str, part: _Part, whole: Examples, notes: list[str]) -> dict[str, Examples]:
    units, strata, chosen = _chosen(kind, part, own.split_seed)
    if not chosen.any() or chosen.all():
        texts, labels = len(set(units)), len(set(strata))
        count = f"{len(chosen)} row{'s' * (len(chosen) > 1)} ({texts} different texts, {labels} kinds of labels)"
        raise ValueError(f"{own.data} has {count}, too few to divide: add rows, or give --validation FILE")
    notes.append(
        f"{own.data.name}: {(~chosen).sum():,} rows are for training and {chosen.sum():,} for validation, by a hash of "
        f"their texts and the seed {own.split_seed} (--split-seed)"
    )
    return {"train": whole.where(~chosen), "validation": whole.where(chosen)}
