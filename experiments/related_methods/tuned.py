"""Tables of what is fine-tuned: PST, RegSL and ABSGD."""

from collections.abc import Iterable, Sequence

from benchmarks.cells import NONE, mean_sd
from experiments.related_methods.statistics import (
    POINT,
    Quality,
    System,
    differences,
    interval,
    least,
    quality,
    together,
    words,
)
from experiments.rows import Row, by_seed, in_order, ratio_of_means, where
from leanformer.reporting.numbers.statistics import PairedDifference
from leanformer.reporting.render.document import Table

Pair = tuple[str, str]
REFERENCES = ("plain", "fewer-epochs")
"""The methods that RegSL's are compared with."""
SAID = "Points, mean ± sd over seeds. Runs that answer nearly always alike are collapsed; those that diverged failed."
PRUNED = {"0.9": ("pst", "magnitude"), "0.5": ("pst-half", "magnitude-half")}
"""PST and what it is compared with, by sparsity."""
RIGHT = ("right_labels", "right_labels_in_the_end")
"""The second one where labels are corrected."""


def pst(record: Row) -> System:
    rows, dense = record["rows"], ("pst", "dense")
    pairs = [*PRUNED.values(), ("pst", "pst-by-magnitude"), dense, ("magnitude", "dense")]
    found = {pair: of for pair, of in _against(rows, pairs, "score").items() if of.n}
    sparse = {name: own for name in in_order(rows, "way") if (own := _sparse(where(rows, way=name)))}
    both = "pst" in sparse and "magnitude" in sparse
    share = ratio_of_means(sparse["pst"], sparse["magnitude"], "trainable") if both else None
    told = []
    for sparsity, pair in PRUNED.items():
        if pair in found:
            said = words(judged(found[pair]), share or 1.0, "the trained numbers")
            told.append(f"at a sparsity of {sparsity} {said} ({_points(found[pair])} to pruning by magnitude)")
    if told and dense in found:
        told.append(f"{_points(found[dense])} to dense fine-tuning")
    here = {
        "quality": told[0] if told else NONE,
        "cost": NONE if share is None else f"{share:.1%} of pruning by magnitude's",
    }
    sizes = [
        [name, f"{one['zeros'] / one['weights']:.2%}", f"{one['trainable']:,}", f"{one['head']:,}"]
        for name, (one, *_) in sparse.items()
    ]
    tables = [
        _scores(rows, "score"),
        _differences(found, "Mean of the tasks."),
        Table(["", "zeros of the maps' weights", "trained", "of them the head"], sizes, "lrrr"),
    ]
    return System("PST", told, here, tables)


def regsl(record: Row) -> System:
    rows, tables = record["rows"], [_scores(record["rows"], "score")]
    names = [name for name in in_order(rows, "way") if name not in REFERENCES]
    asked = {name: [(name, reference) for reference in REFERENCES] for name in names}
    pairs = [*(pair for own in asked.values() for pair in own), REFERENCES[::-1]]
    found = {noise: _against(where(rows, label_noise=noise), pairs, "score") for noise in in_order(rows, "label_noise")}
    for noise, own in found.items():
        tables.append(_differences(own, f"{noise:.0%} of the labels wrong, mean of the tasks."))
    told, beside = [], {"clean": list[str](), "noisy": list[str]()}
    for noise, own in found.items():
        where_to = beside["noisy" if noise else "clean"]
        where_to += [
            f"{name}{f' at {noise:.0%}' if noise else ''} {_points(own[name, REFERENCES[0]])}" for name in names
        ]
    for name, of in asked.items():
        said = f"{name}: {_least(of, [own for noise, own in found.items() if noise])} with wrong labels"
        if 0.0 in found:
            said += f", {least([judged(found[0.0][pair]) for pair in of])} with right ones"
        told.append(said)
    labels = [
        [f"{row['task']}, {row['label_noise']:.0%}", row["way"], *(f"{100 * row[key]:.1f}" for key in RIGHT)]
        for row in where(rows, seed=1)
        if RIGHT[1] in row
    ]
    tables.append(Table(["", "", "right labels, %", "in the end"], labels, "llrr", "Seed 1."))
    return System("RegSL", told, {key: "; ".join(said) or NONE for key, said in beside.items()}, tables)


def absgd(record: Row) -> System:
    rows = [row | {"condition": _condition(row)} for row in record["rows"]]
    rare, noisy = ([row for row in rows if (row["imbalance"] > 1) is flag] for flag in (True, False))
    told, tables, here = [], [_scores(rare, "mean_recall"), _scores(noisy, "score")], {}
    for kind, title, own, metric, other in (
        ("rare", "rare classes", rare, "mean_recall", "class-weights"),
        ("noisy", "wrong labels", noisy, "score", "fewer-epochs"),
    ):
        first, second = ("absgd", "cross-entropy"), ("absgd", other)
        pairs = [first, second, (other, "cross-entropy")]
        found = {each: _against(where(own, condition=each), pairs, metric) for each in in_order(own, "condition")}
        tables += [_differences(of, f"{each}, mean of the tasks.") for each, of in found.items()]
        if own:
            here[kind] = "; ".join(f"{each}: {_points(of[first])} to cross entropy" for each, of in found.items())
            told.append(f"{title}: {_least([first, second], found.values())}")
    return System("ABSGD", told, here, tables)


def _least(pairs: Iterable[Pair], conditions: Iterable[dict[Pair, PairedDifference]]) -> str:
    """Returns the weakest verdict over the conditions and references together."""
    of = list(conditions)
    overall = {pair[1]: together([judged(found[pair]) for found in of]) for pair in pairs}
    said = ", ".join(f"against {reference} {found}" for reference, found in overall.items())
    return f"{words(least(overall.values()))} ({said})"


def judged(of: PairedDifference) -> Quality:
    return quality(of, higher_is_better=True, margin=POINT)


def _against(rows: Sequence[Row], pairs: Sequence[Pair], metric: str) -> dict[Pair, PairedDifference]:
    """Returns the differences of the means over tasks, corrected over the pairs."""
    values = {name: by_seed(where(rows, way=name), metric, "task") for pair in pairs for name in pair}
    return dict(zip(pairs, differences((values[way], values[other]) for way, other in pairs), strict=True))


def _scores(rows: Sequence[Row], metric: str) -> Table:
    """One column per method."""
    ways, found = in_order(rows, "way"), []
    for task, condition in dict.fromkeys((row["task"], _condition(row)) for row in rows):
        cell = [row for row in where(rows, task=task) if _condition(row) == condition]
        numbers = [[row[metric] for row in where(cell, way=way) if row.get(metric) is not None] for way in ways]
        found.append([", ".join(filter(None, (task, condition))), *(mean_sd(each, 100) for each in numbers)])
    happened = {
        "collapsed runs": [row for row in rows if row.get("collapsed")],
        "failed runs": [row for row in rows if row["score"] is None],
    }
    found += [[title, *(str(len(where(own, way=way))) for way in ways)] for title, own in happened.items() if own]
    caption = f"{metric.replace('_', ' ').capitalize()}. {SAID}"
    return Table(["", *ways], found, "l" + "r" * len(ways), caption)


def _condition(row: Row) -> str:
    said = [f"{row['label_noise']:.0%} wrong"] if row["label_noise"] else []
    return ", ".join([*said, *([f"1 in {row['imbalance']:g}"] if row["imbalance"] > 1 else [])])


def _differences(found: dict[Pair, PairedDifference], caption: str) -> Table:
    rows = [[*pair, *interval(of, 100), judged(of)] for pair, of in found.items() if of.n]
    return Table(["", "against", "points [95 % CI]", "p, Holm", "seeds", "verdict"], rows, "llrrrl", caption)


def _points(of: PairedDifference) -> str:
    return f"{interval(of, 100)[0]} points" if of.n else NONE


def _sparse(rows: Sequence[Row]) -> list[Row]:
    return [row["sparse"] for row in rows if row.get("sparse")]
