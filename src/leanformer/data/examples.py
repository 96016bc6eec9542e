"""Labelled examples of a task, from a folder or from the Hugging Face hub.

    DIR/<task>/<split>.jsonl|.csv|.tsv[.xz|.gz|.bz2] or .parquet        a column a text, and `label`

A .tsv has a header line and no quoting at all, as GLUE's own files: a lone quotation mark is text (read with CSV's
rules it would silently swallow rows). Only the exact names of the task's splits are read: a file `validation_old.jsonl`
is nobody's split. Labels are the positions or the names of the task's labels.

Every fault is a `ValueError` or `FileNotFoundError` of one line: split missing, empty or truncated file, column
missing, label outside the task's set.
"""

import csv
import hashlib
import io
import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from leanformer.data.decoding import decoded
from leanformer.data.order import permutation
from leanformer.data.tasks import Task

HUB = "hub"
PACKINGS = (".xz", ".gz", ".bz2")
SUFFIXES = [kind + packing for kind in (".jsonl", ".csv", ".tsv") for packing in ("", *PACKINGS)] + [".parquet"]


class Examples(NamedTuple):
    """`texts[i]` holds one text or two; `labels` are int64 positions in the task's labels, or float64."""

    texts: list[tuple[str, ...]]
    labels: np.ndarray

    @property
    def hash(self) -> str:
        """sha256 of texts and labels in order: equal data, whatever file they came from."""
        return hashlib.sha256(json.dumps([self.texts, self.labels.tolist()]).encode()).hexdigest()

    def subset(self, size: int | None) -> "Examples":
        """At most `size` of the examples (None: all), always the same ones, in their order."""
        if size is None or size >= len(self.texts):
            return self
        chosen = np.sort(permutation(np.arange(size), len(self.texts), seed=0, epoch=0))
        return Examples([self.texts[i] for i in chosen], self.labels[chosen])


def load(task: Task, where: str | Path) -> tuple[Examples, dict[str, Examples]]:
    """(train, {split: examples} for every validation split that exists), from the folder `where` or from "hub"."""
    source = _hub(task) if str(where) == HUB else _folder(task, Path(where))
    found = {split: source[split] for split in ("train", *task.validation) if split in source}
    for wanted in (("train",), task.validation):
        if not any(split in found for split in wanted):
            raise FileNotFoundError(_missing(task, where, wanted))
    examples = {split: _examples(task, rows, name) for split, (name, rows) in found.items()}
    return examples.pop("train"), examples


Source = dict[str, tuple[str, Iterable[dict[str, Any]]]]  # split -> (what to call it in an error, its rows)


def _folder(task: Task, where: Path) -> Source:
    folder = where / task.name
    source: Source = {}
    for split in ("train", *task.validation):
        paths = [path for path in (folder / (split + suffix) for suffix in SUFFIXES) if path.is_file()]
        if len(paths) > 1:
            raise ValueError(
                f"{folder} holds {' and '.join(p.name for p in paths)}: keep one file of the {split} split"
            )
        if paths:
            source[split] = (str(paths[0]), read_rows(paths[0]))
    return source


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
    return {split: (f"{name} {split}", rows) for split, rows in splits.items()}


def _missing(task: Task, where: str | Path, splits: tuple[str, ...]) -> str:
    if str(where) == HUB:
        return f"{'/'.join(task.hub)} has no split {' or '.join(splits)}"
    wanted = " or ".join(str(Path(where) / task.name / split) for split in splits)
    return f"no file {wanted} with ending {', '.join(SUFFIXES)}: the task data are a folder that holds a folder a task"


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a .jsonl, .csv, .tsv (packed or not) or .parquet file as dicts."""
    kind = next(suffix for suffix in reversed(path.suffixes) if suffix not in PACKINGS)
    if kind == ".parquet":
        return _parquet_rows(path)
    text = "".join(decoded(path, lambda _: None))
    return {".jsonl": _json_rows, ".csv": _csv_rows, ".tsv": _tsv_rows}[kind](text, path)


def _json_rows(text: str, path: Path) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}, line {number}: not JSON ({error.msg}): fetch or mend the file") from None
        if not isinstance(row, dict):
            raise ValueError(f"{path}, line {number}: not a JSON object with a key a column: mend the file")
        yield row


def _csv_rows(text: str, path: Path) -> Iterator[dict[str, Any]]:
    try:
        yield from _keyed(csv.reader(io.StringIO(text, newline=""), strict=True), path)
    except csv.Error as error:
        raise ValueError(f"{path}: not CSV, or truncated ({error}): fetch or mend the file") from None


def _tsv_rows(text: str, path: Path) -> Iterator[dict[str, Any]]:
    yield from _keyed((line.split("\t") for line in text.split("\n") if line), path)


def _keyed(table: Iterator[list[str]], path: Path) -> Iterator[dict[str, Any]]:
    header = next(table, [])
    for number, fields in enumerate(table):
        if len(fields) != len(header):
            raise ValueError(f"{path}, row {number} has {len(fields)} fields, the header {len(header)}: mend the file")
        yield dict(zip(header, fields, strict=True))


def _parquet_rows(path: Path) -> Iterator[dict[str, Any]]:
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches():
                yield from batch.to_pylist()
    except pyarrow.ArrowException as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"{path}: damaged, or no parquet file ({reason}): fetch it again") from None


def _examples(task: Task, rows: Iterable[dict[str, Any]], source: str) -> Examples:
    texts, labels = [], []
    known = _label_table(task)
    for number, row in enumerate(rows):
        for column in (*task.columns, task.label_column):
            if column not in row:
                raise ValueError(f"{source}, row {number} has no column {column!r}; it has: {', '.join(row)}")
            if row[column] is None:
                raise ValueError(f"{source}, row {number}: {column} is empty (null): fill it in or drop the row")
        texts.append(tuple(str(row[column]) for column in task.columns))
        labels.append(_label(task, row[task.label_column], known, f"{source}, row {number}"))
    if not texts:
        raise ValueError(
            f"{source} is empty: {task.name} needs rows with {', '.join(task.columns)}, {task.label_column}"
        )
    return Examples(texts, np.array(labels, dtype=np.float64 if task.regression else np.int64))


def _label_table(task: Task) -> dict[str, int]:
    """Names to positions, and positions to themselves unless a name is a number: then a number is a name."""
    names = {name: i for i, name in enumerate(task.labels)}
    numeric = any(name.lstrip("-").isdigit() for name in names)
    return names if numeric else names | {str(i): i for i in range(len(names))}


def _label(task: Task, value: Any, known: dict[str, int], where: str) -> float | int:
    if not task.regression:
        if str(value) in known:
            return known[str(value)]
        hidden = "; -1 stands for a hidden label, and such a split cannot be scored" if str(value) == "-1" else ""
        raise ValueError(f"{where}: label {value!r} is not of {task.name}: {', '.join(known)}{hidden}")
    low, high = task.bounds or (-math.inf, math.inf)
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not (math.isfinite(number) and low <= number <= high):
        raise ValueError(f"{where}: label {value!r} is not of {task.name}: a number from {low} to {high}")
    return number
