"""The methods of fine-tuning that the protocol compares, and what of them a trial chooses.

Every other setting is a default, or the same for all methods of a study: a rate of 1e-3 where none is named.
"""

from dataclasses import dataclass
from typing import Literal

Spoilt = Literal["", "noise", "rare"]


@dataclass(frozen=True)
class Tried:
    """One of the candidates joins the settings: that of the greatest metric in a trial with a seed of its own, on every
    task of the study or on its first."""

    study: str
    settings: tuple[str, ...]
    candidates: tuple[tuple[str, ...], ...]
    spoilt: Spoilt = ""
    metric: str = "score"
    on_every_task: bool = True


@dataclass(frozen=True)
class Method:
    name: str
    settings: tuple[str, ...] = ()
    tried: tuple[str, ...] = ()
    spoilt: Spoilt = ""


def _rates(*rates: float) -> tuple[tuple[str, ...], ...]:
    return tuple((f"learning_rate={rate:g}",) for rate in rates)


def _distance(first: float) -> tuple[str, ...]:
    return (f"regsl.distance={first:g}", "regsl.growth=1.2", f"regsl.head_distance={4 * first:g}")


def _fewer(study: str) -> Tried:
    """Stopping before wrong labels are learned by heart: what any other remedy has to beat."""
    return Tried(study, (), tuple((f"epochs={count}",) for count in (1, 2, 3)), "noise")


TRIED = {
    "dense": Tried("pst", (), _rates(3e-4, 1e-3, 3e-3), on_every_task=False),
    "magnitude": Tried("pst", ("method=magnitude",), _rates(3e-4, 1e-3, 3e-3), on_every_task=False),
    "pst": Tried("pst", ("method=pst",), _rates(1e-3, 3e-3, 1e-2), on_every_task=False),
    "distance": Tried("regsl", (), tuple(_distance(first) for first in (0.25, 0.5, 1, 2, 4)), "noise"),
    "labels": Tried(
        "regsl",
        (),
        tuple((f"regsl.reweight_from={early}", f"regsl.correct_from={early + 1}") for early in (0.5, 1, 2)),
        "noise",
    ),
    "epochs-regsl": _fewer("regsl"),
    "epochs-absgd": _fewer("absgd"),
    "rare": Tried(
        "absgd", ("loss=absgd",), tuple((f"absgd.temperature={each}",) for each in (0.5, 1, 5)), "rare", "mean_recall"
    ),
    "noisy": Tried("absgd", ("loss=absgd",), tuple((f"absgd.temperature={each}",) for each in (-0.5, -1, -5)), "noise"),
}
LOW_RANK = ("method=pst", "sparse.score_rank=0", "sparse.structure_scale=0")
METHODS = {
    "pst": (
        Method("dense", (), ("dense",)),
        Method("magnitude", ("method=magnitude", "sparse.sparsity=0.9"), ("magnitude",)),
        Method("pst", ("method=pst", "sparse.sparsity=0.9"), ("pst",)),
        Method("pst-by-magnitude", (*LOW_RANK, "sparse.sparsity=0.9"), ("pst",)),
        Method("magnitude-half", ("method=magnitude", "sparse.sparsity=0.5"), ("magnitude",)),
        Method("pst-half", ("method=pst", "sparse.sparsity=0.5"), ("pst",)),
    ),
    "regsl": (
        Method("plain"),
        Method("fewer-epochs", (), ("epochs-regsl",)),
        Method("distance", (), ("distance",)),
        Method("self-labelling", (), ("labels",)),
        Method("both", (), ("distance", "labels")),
    ),
    "absgd": (
        Method("cross-entropy", (), (), "rare"),
        Method("class-weights", ("loss=balanced",), (), "rare"),
        Method("absgd", ("loss=absgd",), ("rare",), "rare"),
        Method("cross-entropy", (), (), "noise"),
        Method("fewer-epochs", (), ("epochs-absgd",), "noise"),
        Method("absgd", ("loss=absgd",), ("noisy",), "noise"),
    ),
}
"""Of each study; the first of those that are compared is the one that the others are judged by."""
