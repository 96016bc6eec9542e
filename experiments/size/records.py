"""What the comparisons of several sizes hold: losses and gaps at each size, number of tokens and seed."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from leanformer.reporting.analysis.pairing import pairs
from leanformer.reporting.records.runs import Run
from leanformer.reporting.records.study import Study, read_study

LAYERS = ("attention", "feed_forward", "norms")
"""The rows of the ledger whose parameters N counts."""


@dataclass(frozen=True)
class Point:
    """One size and one number of tokens. Losses and gaps in nats, by arm and seed."""

    size: float
    """N of the baseline."""
    score_at: int
    sizes: dict[str, float]
    """N of each arm."""
    losses: dict[str, dict[int, float]]
    gaps: dict[str, dict[int, float]]
    """Arm minus baseline, of the seeds that both have."""


@dataclass(frozen=True)
class Sizes:
    """The points of all comparisons, sorted by tokens, then by size; the arms that every one of them has."""

    baseline: str
    arms: tuple[str, ...]
    part: str
    points: tuple[Point, ...]
    study: Study
    """The first comparison, for the colours of its arms."""

    def at(self, score_at: int) -> list[Point]:
        return [point for point in self.points if point.score_at == score_at]

    @property
    def tokens(self) -> list[int]:
        return sorted({point.score_at for point in self.points})


def read(directories: Sequence[Path], part: str) -> Sizes:
    """ValueError of one line for comparisons that do not belong together or have no scores of `part` at any tokens."""
    studies = [read_study(directory) for directory in directories]
    first = studies[0]
    for study in studies:
        if study.baseline is None or study.baseline != first.baseline:
            raise ValueError(f"{study.directory} has the baseline {study.baseline}, not {first.baseline}: leave it out")
        if _data(study) != _data(first):
            raise ValueError(f"{study.directory} is of other data than {first.directory}: leave one of them out")
    assert first.baseline is not None
    points = sorted((p for s in studies for p in _points(s, part)), key=lambda p: (p.score_at, p.size))
    if not points:
        raise ValueError(f"{first.directory} has no scores of {part} during training: train with training.score_at")
    for one, two in zip(points, points[1:], strict=False):
        if (one.score_at, one.size) == (two.score_at, two.size):
            raise ValueError(f"two comparisons are of {one.size:,.0f} parameters: leave one of them out")
    arms = tuple(name for name in first.challengers if all(name in point.gaps for point in points))
    return Sizes(first.baseline, arms, part, tuple(points), first)


def _data(study: Study) -> object:
    return (study.plan.get("data") or {}).get("hash")


def _points(study: Study, part: str) -> list[Point]:
    runs = {name: study.at(name) for name in study.attention}
    numbers = sorted({number for of in runs.values() for run in of for number in run.points})
    made = []
    for number in numbers:
        losses = {name: {run.seed: loss for run in of if (loss := _loss(run, number, part)) is not None}
                  for name, of in runs.items()}  # fmt: skip
        losses = {name: of for name, of in losses.items() if of}
        if study.baseline not in losses:
            continue
        gaps = {name: _gaps(study, name, number, part) for name in study.challengers}
        sizes = {name: _size(runs[name][0]) for name in losses}
        made.append(Point(sizes[study.baseline], number, sizes, losses, {k: v for k, v in gaps.items() if v}))
    return made


def _gaps(study: Study, name: str, number: int, part: str) -> dict[int, float]:
    both = [(run.seed, _loss(run, number, part), _loss(other, number, part)) for run, other in pairs(study, name).pairs]
    return {seed: ours - theirs for seed, ours, theirs in both if ours is not None and theirs is not None}


def _loss(run: Run, number: int, part: str) -> float | None:
    return run.points.get(number, {}).get("scores", {}).get(part, {}).get("loss")


def _size(run: Run) -> float:
    """ValueError for a record whose ledger does not divide the parameters."""
    counts = (run.record.get("ledger") or {}).get("parameters") or {}
    if any(not isinstance(counts.get(name), int | float) for name in LAYERS):
        raise ValueError(f"{run.path} does not say how many parameters its layers have: train it again")
    return float(sum(counts[name] for name in LAYERS))
