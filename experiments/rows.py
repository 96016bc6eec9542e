"""Rows of a record, and what the pages of the experiments say of them alike."""

from collections.abc import Iterable
from statistics import fmean
from typing import Any

Row = dict[str, Any]


def where(rows: Iterable[Row], **wanted: Any) -> list[Row]:
    """The rows with these values; a key that a row lacks is None."""
    return [row for row in rows if all(row.get(key) == value for key, value in wanted.items())]


def in_order(rows: Iterable[Row], key: str) -> list[Any]:
    return list(dict.fromkeys(row[key] for row in rows))


def by_seed(rows: Iterable[Row], metric: str, cell: str | None = None, cells: Iterable[Any] = ()) -> dict[int, float]:
    """Returns the mean over cells (tasks, say) per seed that has a number in all cells of the rows and in these."""
    found: dict[Any, dict[int, float]] = {each: {} for each in cells}
    for row in rows:
        of = found.setdefault(row[cell] if cell else None, {})
        if row.get(metric) is not None:
            of[row["seed"]] = row[metric]
    seeds = set.intersection(*map(set, found.values())) if found else set()
    return {seed: fmean(of[seed] for of in found.values()) for seed in sorted(seeds)}


def ratio_of_means(rows: Iterable[Row], other: Iterable[Row], key: str) -> float:
    return fmean(row[key] for row in rows) / fmean(row[key] for row in other)


def range_of(of: dict[str, float]) -> str:
    """Returns the median over rounds with the lowest and the highest, as text."""
    return "{median:.2f} ({low:.2f} to {high:.2f})".format(**of)


def model_size(record: Row) -> str:
    model = record["settings"]["model"]
    return f"{model.get('num_hidden_layers', '?')} layers of {model.get('hidden_size', '?')}"


def made_on(record: Row) -> list[tuple[str, str]]:
    """Facts: the machine and the versions."""
    versions = record["versions"]
    return [
        ("machine", record["hardware"]["cpu"]),
        ("leanformer", f"{versions['leanformer']} ({(versions['commit'] or 'no commit')[:12]})"),
        ("torch", versions["torch"]),
    ]
