"""Tables of what is fine-tuned: PST, RegSL and ABSGD."""

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from benchmarks.cells import NONE, mean_sd
from experiments.related_methods.statistics import (
    POINT,
    Quality,
    System,
    by_seed,
    differences,
    in_order,
    interval,
    least,
    quality,
    together,
    where,
    words,
)
from leanformer.report.numbers.statistics import PairedDifference
from leanformer.report.render.document import Table

Row = dict[str, Any]
REFERENCES = ("plain", "fewer-epochs")
"""Of regsl."""
SAID = "Points, mean ± sd over seeds. Runs that answer nearly always alike are collapsed; those that diverged failed."


def pst(record: Row) -> System:
    rows, sparsities = record["rows"], {"pst": "0.9", "pst-half": "0.5"}
    pairs = [("pst", "magnitude"), ("pst-half", "magnitude-half"), ("pst", "pst-by-magnitude"), ("pst", "dense")]
    pairs += [("magnitude", "dense")]
    found = _against(rows, pairs, "score")
    told, share = [], _trained(rows)
    for name, sparsity in sparsities.items():
        of = found.get((name, pairs[list(sparsities).index(name)][1]))
        if of is not None and of.n:
            said = words(judged(of), share or 1.0, "the trained numbers")
            told.append(f"at a sparsity of {sparsity} {said} ({_points(of)} to pruning by magnitude)")
    dense = found.get(("pst", "dense"))
    if told and dense is not None:
        told.append(f"{_points(dense)} to dense fine-tuning")
    here = {
        "quality": told[0] if told else NONE,
        "cost": NONE if share is None else f"{share:.1%} of pruning by magnitude's",
    }
    sparse = [
        [name, *_sparse(where(rows, way=name))]
        for name in in_order(rows, "way")
        if any(row.get("sparse") for row in where(rows, way=name))
    ]
    tables = [
        _scores(rows, "score"),
        _differences({pair: found[pair] for pair in pairs if found[pair].n}, "mean of the tasks"),
        Table(["", "zeros of the maps' weights", "trained", "of them the head"], sparse, "lrrr"),
    ]
    return System("PST", "; ".join(told) or "not measured yet", here, tables)


def regsl(record: Row) -> System:
    rows = record["rows"]
    told, tables, clean, noisy = [], [_scores(rows, "score")], [], []
    verdicts: dict[str, dict[str, dict[float, Quality]]] = {}
    for noise in in_order(rows, "label_noise"):
        own = where(rows, label_noise=noise)
        names = [name for name in in_order(own, "way") if name not in REFERENCES]
        pairs = [(name, reference) for name in names for reference in REFERENCES]
        found = _against(own, [*pairs, REFERENCES[::-1]], "score")
        tables.append(_differences(found, f"{noise:.0%} of the labels wrong, mean of the tasks"))
        for name, reference in pairs:
            verdicts.setdefault(name, {}).setdefault(reference, {})[noise] = judged(found[name, reference])
        for name in names:
            said = f"{name}{f' at {noise:.0%}' if noise else ''} {_points(found[name, REFERENCES[0]])}"
            (noisy if noise else clean).append(said)
    for name, of in verdicts.items():
        wrong = {reference: [found for noise, found in each.items() if noise] for reference, each in of.items()}
        told.append(f"{name}: {_least(wrong)} with wrong labels")
        if 0.0 in of[REFERENCES[0]]:
            told[-1] += f", {least([each[0.0] for each in of.values()])} with right ones"
    labels = [
        [f"{row['task']}, {row['label_noise']:.0%}", row["way"], f"{100 * row['right_labels']:.1f}", right]
        for row in rows
        if row["seed"] == 1 and (right := _right(row))
    ]
    tables.append(Table(["", "", "right labels, %", "in the end"], labels, "llrr", "Seed 1."))
    here = {"clean": "; ".join(clean) or NONE, "noisy": "; ".join(noisy) or NONE}
    return System("RegSL", "; ".join(told) or "not measured yet", here, tables)


def absgd(record: Row) -> System:
    rows = record["rows"]
    rare, noisy = ([row for row in rows if (row["imbalance"] > 1) is flag] for flag in (True, False))
    told, tables, here = [], [_scores(rare, "mean_recall"), _scores(noisy, "score")], {}
    for kind, own, metric, references in (
        ("rare", rare, "mean_recall", ("cross-entropy", "class-weights")),
        ("noisy", noisy, "score", ("cross-entropy", "fewer-epochs")),
    ):
        verdicts: dict[str, list[Quality]] = {reference: [] for reference in references}
        for cell in in_order([row | {"cell": _condition(row)} for row in own], "cell"):
            inside = [row for row in own if _condition(row) == cell]
            pairs = [("absgd", reference) for reference in references]
            found = _against(inside, [*pairs, references[::-1]], metric)
            tables.append(_differences(found, f"{cell}, mean of the tasks"))
            for reference in references:
                verdicts[reference].append(judged(found["absgd", reference]))
            first = found["absgd", "cross-entropy"]
            here[kind] = "; ".join(
                [*([here[kind]] if kind in here else []), f"{cell}: {_points(first)} to cross entropy"]
            )
        if own:
            title = "rare classes" if kind == "rare" else "wrong labels"
            told.append(f"{title}: {_least(verdicts)}")
    return System("ABSGD", "; ".join(told) or "not measured yet", here, tables)


def _least(verdicts: dict[str, list[Quality]]) -> str:
    """Of the conditions together, against every reference."""
    overall = {reference: together(found) for reference, found in verdicts.items()}
    said = ", ".join(f"against {reference} {found}" for reference, found in overall.items())
    return f"{words(least(overall.values()))} ({said})"


def judged(of: PairedDifference) -> Quality:
    return quality(of, higher_is_better=True, margin=POINT)


def _against(
    rows: Sequence[Row], pairs: Sequence[tuple[str, str]], metric: str
) -> dict[tuple[str, str], PairedDifference]:
    """Of the mean over tasks; corrected over the pairs."""
    values = {name: by_seed(where(rows, way=name), metric, "task") for pair in pairs for name in pair}
    return dict(zip(pairs, differences([(values[way], values[other]) for way, other in pairs]), strict=True))


def _scores(rows: Sequence[Row], metric: str) -> Table:
    """One column per method."""
    ways, found = in_order(rows, "way"), []
    for task, condition in dict.fromkeys((row["task"], _condition(row)) for row in rows):
        cell = [row for row in where(rows, task=task) if _condition(row) == condition]
        numbers = [[row[metric] for row in where(cell, way=way) if row.get(metric) is not None] for way in ways]
        found.append([", ".join(filter(None, (task, condition))), *(mean_sd(each, 100) for each in numbers)])
    for title, happened in (
        ("collapsed runs", lambda row: bool(row.get("collapsed"))),
        ("failed runs", lambda row: row["score"] is None),
    ):
        counts = [sum(map(happened, where(rows, way=way))) for way in ways]
        if any(counts):
            found.append([title, *map(str, counts)])
    caption = f"{metric.replace('_', ' ').capitalize()}. {SAID}"
    return Table(["", *ways], found, "l" + "r" * len(ways), caption)


def _condition(row: Row) -> str:
    said = [f"{row['label_noise']:.0%} wrong"] if row["label_noise"] else []
    return ", ".join([*said, *([f"1 in {row['imbalance']:g}"] if row["imbalance"] > 1 else [])])


def _differences(found: dict[tuple[str, str], PairedDifference], caption: str) -> Table:
    rows = [[way, reference, *interval(of, 100), judged(of)] for (way, reference), of in found.items() if of.n]
    header = ["", "against", "points [95 % CI]", "p, Holm", "seeds", "verdict"]
    return Table(header, rows, "llrrrl", f"{caption[0].upper()}{caption[1:]}.")


def _points(of: PairedDifference) -> str:
    return f"{interval(of, 100)[0]} points" if of.n else NONE


def _trained(rows: Sequence[Row]) -> float | None:
    """What PST trains, as a share of what pruning by magnitude does."""
    found = [
        [row["sparse"]["trainable"] for row in where(rows, way=name) if row.get("sparse")]
        for name in ("pst", "magnitude")
    ]
    return fmean(found[0]) / fmean(found[1]) if all(found) else None


def _sparse(rows: Sequence[Row]) -> list[str]:
    one = next(row["sparse"] for row in rows if row.get("sparse"))
    return [f"{one['zeros'] / one['weights']:.2%}", f"{one['trainable']:,}", f"{one['head']:,}"]


def _right(row: Row) -> str:
    """In the end, where labels are corrected."""
    return f"{100 * row['right_labels_in_the_end']:.1f}" if "right_labels_in_the_end" in row else ""
