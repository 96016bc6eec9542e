"""The lines and laws of a study of sizes, and its results.json."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from experiments.size.laws import Law, Line, law, line
from experiments.size.records import Sizes
from leanformer.reporting.comparison.results import finite
from leanformer.reporting.numbers.statistics import Spread

BERT_BASE = 85e6
"""Parameters of the layers of BERT-base: 12 (4 x 768^2 + 8 x 768^2), rounded."""


@dataclass(frozen=True)
class Findings:
    sizes: Sizes
    lines: dict[tuple[str, int], Line]
    """Lines by arm and number of tokens, over the seeds that every size has; there is none without such a seed."""
    laws: dict[str, Law]
    """Laws by arm, the baseline's among them."""


def find(sizes: Sizes) -> Findings:
    """ValueError for comparisons of one size."""
    lines = {
        (arm, number): found for arm in sizes.arms for number in sizes.tokens if (found := _line(sizes, arm, number))
    }
    laws = {arm: found for arm in (sizes.baseline, *sizes.arms) if (found := _law(sizes, arm))}
    return Findings(sizes, lines, laws)


def _line(sizes: Sizes, arm: str, number: int) -> Line | None:
    points = sizes.at(number)
    seeds = sorted(set.intersection(*(set(point.gaps[arm]) for point in points)))
    return line([p.size for p in points], [[p.gaps[arm][seed] for p in points] for seed in seeds]) if seeds else None


def _law(sizes: Sizes, arm: str) -> Law | None:
    points = [point for point in sizes.points if arm in point.losses]
    seeds = sorted(set.intersection(*(set(point.losses[arm]) for point in points)))
    if not seeds:
        return None
    losses = np.array([[point.losses[arm][seed] for point in points] for seed in seeds])
    return law(np.array([p.sizes[arm] for p in points]), np.array([float(p.score_at) for p in points]), losses)


def verdict(slope: Spread) -> str:
    """What the interval of the slope says of the gap."""
    if slope.ci95 is None:
        return "not tested"
    low, high = slope.ci95
    return "grows" if low > 0 else "shrinks" if high < 0 else "undecided"


def results(findings: Findings) -> dict[str, Any]:
    sizes = findings.sizes
    return finite(
        {
            "schema": 1,
            "kind": "size",
            "baseline": sizes.baseline,
            "part": sizes.part,
            "points": [asdict(point) for point in sizes.points],
            "lines": [
                {
                    "attention": arm,
                    "score_at": number,
                    "slope_per_tenfold": asdict(found.slope),
                    "verdict": verdict(found.slope),
                    "predicted_size": BERT_BASE,
                    "prediction": asdict(found.at(BERT_BASE)),
                    "per_seed": [{"a": a, "b": b} for a, b in found.per_seed],
                }
                for (arm, number), found in findings.lines.items()
            ],
            "laws": [{"attention": arm, **asdict(found)} for arm, found in findings.laws.items()],
        }
    )
