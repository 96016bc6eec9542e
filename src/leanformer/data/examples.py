"""Labelled examples of a task, from a folder or from the Hugging Face hub.

    DIR/<task>/<split>.jsonl|.json|.csv|.tsv[.xz|.gz|.bz2] or .parquet        its columns, and `label`

Tables are read by `tables.py`. Only the exact names of the task's splits are read: a file `validation_old.jsonl` is
nobody's split. Labels are the positions or the names of the task's labels (`labels.py`).

Every fault is a `ValueError` or `FileNotFoundError` of one line: split missing, empty or truncated file, column
missing, label outside the task's set.

Where an entry of the table allows it, data without a training split are divided: see `Task.held_out`.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from leanformer import files
from leanformer.data import labels, tables
from leanformer.data.order import permutation
from leanformer.data.tables import SUFFIXES
from leanformer.data.tables import read_rows as read_rows  # its name here is older than `tables.py`
from leanformer.data.tasks import Task

HUB = "hub"
SEED = 0
"""Of the examples chosen by `split`, and by `subset` if not told otherwise: the same for every model and every run."""


class Examples(NamedTuple):
    """N of them. `texts[i]` holds the texts of example i, as many as its kind of task has."""

    texts: list[tuple[str, ...]]
    labels: np.ndarray
    """(N,) int64 positions in the task's labels, float64 numbers, or objects: the answers to a question."""
    groups: np.ndarray | None = None
    """(N,) int64, numbered from 0: examples that are scored together, and never divided."""
    note: str | None = None
    """What a reader of the scores must know of where these examples come from."""

    @property
    def hash(self) -> str:
        """sha256 of texts, labels and groups in order: equal data, whatever file they came from."""
        groups = [] if self.groups is None else [self.groups.tolist()]
        return files.sha256_of(json.dumps([self.texts, self.labels.tolist(), *groups]))

    def subset(self, size: int | None, seed: int = SEED) -> "Examples":
        """At most `size` of the examples (None: all), for a seed the same ones, in their order; a group at least."""
        if size is None or size >= len(self.texts):
            return self
        return self.where(self._drawn(size, seed))

    def split(self, held_out: float) -> tuple["Examples", "Examples"]:
        """(the rest, the fraction `held_out` of them), always the same ones, in their order."""
        drawn = self._drawn(round(held_out * len(self.texts)), SEED)
        return self.where(~drawn), self.where(drawn)

    def _drawn(self, size: int, seed: int) -> NDArray[np.bool_]:
        """(N,) the first groups of the seed's permutation that hold no more than `size` examples."""
        units = np.arange(len(self.texts)) if self.groups is None else self.groups
        count = int(units.max()) + 1
        order = permutation(np.arange(count), count, seed, epoch=0)
        fits = np.cumsum(np.bincount(units)[order]) <= size
        fits[0] = True
        return np.isin(units, order[fits])

    def where(self, chosen: NDArray[np.bool_]) -> "Examples":
        """Those that are `chosen` (N,), in their order."""
        rows = np.flatnonzero(chosen)
        groups = None if self.groups is None else np.unique(self.groups[rows], return_inverse=True)[1]
        return Examples([self.texts[i] for i in rows], self.labels[rows], groups, self.note)


def load(task: Task, where: str | Path) -> tuple[Examples, dict[str, Examples]]:
    """(train, {split: examples} for every validation split that exists), from the folder `where` or from "hub"."""
    source = _hub(task) if str(where) == HUB else _folder(task, Path(where))
    found = {split: source[split] for split in ("train", *task.validation) if split in source}
    wanted = [task.validation] if task.held_out else [("train",), task.validation]
    for splits in wanted:
        if not any(split in found for split in splits):
            raise FileNotFoundError(_missing(task, where, splits))
    examples = {split: _examples(task, rows, name) for split, (name, rows) in found.items()}
    if "train" not in examples:
        return _divided(task, examples)
    return examples.pop("train"), examples


def _divided(task: Task, examples: dict[str, Examples]) -> tuple[Examples, dict[str, Examples]]:
    """Training examples from the one validation split there is, where a task's entry allows it."""
    assert task.held_out is not None
    ((split, whole),) = examples.items()
    train, held_out = whole.split(task.held_out)
    if not train.texts:
        raise ValueError(f"{task.name} has no training split, and too few {split} examples to divide: add the split")
    note = (
        f"{task.name} has no training split here: {len(train.texts):,} of the {len(whole.texts):,} {split} examples, "
        f"chosen by seed {SEED}, are for training and the others for scores, not comparable with published ones"
    )
    return train._replace(note=note), {split: held_out}


Rows = Iterable[tuple[str, dict[str, Any]]]
"""Each with its place, for an error."""
Source = dict[str, tuple[str, Rows]]
"""Split -> (what to call it in an error, its rows)."""


def _folder(task: Task, where: Path) -> Source:
    folder = where / (task.folder or task.name)
    found = {split: tables.find(folder, split) for split in ("train", *task.validation)}
    return {split: (str(path), tables.read(path)) for split, path in found.items() if path}


def _hub(task: Task) -> Source:
    if not task.hub:
        raise ValueError(f"task {task.name!r} names no data set of the hub: give its entry hub=(...), or a folder")
    import datasets

    name = "/".join(task.hub)
    try:
        splits = datasets.load_dataset(*task.hub)
    except Exception as error:  # network, name or format: it means the same here
        reason = str(error).partition("\n")[0]
        raise OSError(f"cannot load {name} from the hub ({reason}): check the connection, or give a folder") from None
    return {split: (f"{name} {split}", _numbered_rows(rows, f"{name} {split}")) for split, rows in splits.items()}


def _numbered_rows(rows: Iterable[dict[str, Any]], name: str) -> Rows:
    return ((f"{name}, row {number}", row) for number, row in enumerate(rows, 1))


def _missing(task: Task, where: str | Path, splits: tuple[str, ...]) -> str:
    if str(where) == HUB:
        return f"{'/'.join(task.hub)} has no split {' or '.join(splits)}"
    wanted = " or ".join(str(Path(where) / (task.folder or task.name) / split) for split in splits)
    endings = ", ".join(SUFFIXES)
    return f"no file {wanted} with ending {endings}: the task data are a folder that holds one folder per task"


def _examples(task: Task, rows: Rows, source: str) -> Examples:
    texts, values, groups = [], [], []
    read = labels.reader(task)
    for place, row in rows:
        for column in (*task.columns, task.label_column):
            tables.value(row, column, place)
        try:
            if task.template:
                text = task.template(row)
            else:
                text = tuple(tables.as_text(row[column], column) for column in task.columns)
            values.append(read(row[task.label_column], text))
        except (TypeError, ValueError, LookupError, ArithmeticError) as error:
            raise ValueError(f"{place}: {error}") from None
        texts.append(text)
        groups.append(tuple(str(row[column]) for column in task.group))
    if not texts:
        raise ValueError(
            f"{source} is empty: {task.name} needs rows with {', '.join(task.columns)}, {task.label_column}"
        )
    return Examples(texts, np.array(values, dtype=labels.dtype(task)), _numbered(groups) if task.group else None)


def _numbered(keys: list[tuple]) -> NDArray[np.int64]:
    """Equal keys to equal numbers, from 0 in the order of their first appearance."""
    numbers = {key: i for i, key in enumerate(dict.fromkeys(keys))}
    return np.array([numbers[key] for key in keys], dtype=np.int64)
