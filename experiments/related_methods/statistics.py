"""Paired differences of a study's rows, and the words of a verdict.

A difference is a method minus its reference, paired by seed: where there are several tasks, of the mean over them.
Holm's correction is over the methods of one table (`leanformer.reporting.numbers.statistics`). Of a quality it says

    better, worse    the corrected p is below 0.05
    not worse        else, and the 95 % interval leaves at most `margin` to lose
    undecided        else: these runs cannot tell

and the words follow from that and from what else differs, `cost`, as a ratio to the reference:

    better           worth using; if it costs more than 5 %: worth using when that can be spared
    not worse        worth using to save at least 5 %; else no gain shown
    undecided        no gain shown
    worse            worth using only if saving at least 5 % matters more; else not worth using here
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from benchmarks.cells import NONE
from leanformer.reporting.numbers.statistics import PairedDifference, paired_difference, with_holm
from leanformer.reporting.render.document import Block

LITTLE = 0.05
POINT, NATS = 0.01, 0.05
"""Margins: of scores, and of losses."""
Quality = Literal["better", "not worse", "undecided", "worse"]
ORDER: tuple[Quality, ...] = ("worse", "undecided", "not worse", "better")


def differences(pairs: Iterable[tuple[dict[int, float], dict[int, float]]]) -> list[PairedDifference]:
    """Returns the difference of each method to its reference, paired by seed and corrected together."""
    apart = [[one[seed] - other[seed] for seed in sorted(one.keys() & other.keys())] for one, other in pairs]
    return with_holm([paired_difference(each) for each in apart])


def quality(of: PairedDifference, *, higher_is_better: bool, margin: float) -> Quality:
    if of.differs and of.mean is not None:
        return "better" if (of.mean > 0) == higher_is_better else "worse"
    if of.ci95 is None:
        return "undecided"
    lost = -of.ci95[0] if higher_is_better else of.ci95[1]
    return "not worse" if lost <= margin else "undecided"


def together(found: Sequence[Quality]) -> Quality:
    """Better if it is so somewhere and nowhere worse, and the other way round; not worse if it is so everywhere."""
    if "better" in found and "worse" not in found:
        return "better"
    if "worse" in found and "better" not in found:
        return "worse"
    return "not worse" if set(found) == {"not worse"} else "undecided"


def least(found: Collection[Quality]) -> Quality:
    """Against several references."""
    return next(each for each in ORDER if each in found)


def words(found: Quality, cost: float = 1.0, of: str = "time") -> str:
    saved = f"{1 - cost:.0%} of {of}" if cost <= 1 - LITTLE else ""
    if found == "better":
        return "worth using" if cost <= 1 + LITTLE else f"worth using when {cost - 1:.0%} more {of} can be spared"
    if found == "undecided":
        return "no gain shown" + (f", {saved} saved" if saved else "")
    if found == "not worse":
        return f"worth using to save {saved}" if saved else "no gain shown, nor a loss"
    return f"worth using only if saving {saved} matters more" if saved else "not worth using here"


def interval(of: PairedDifference, times: float = 1.0, digits: int = 1) -> list[str]:
    """Cells: difference with its interval, p, verdict's n."""
    if of.mean is None:
        return [NONE, NONE, "0"]
    said = f"{times * of.mean:+.{digits}f}"
    if of.ci95 is not None:
        said += f" [{times * of.ci95[0]:+.{digits}f}, {times * of.ci95[1]:+.{digits}f}]"
    return [said, p_cell(of.p_value_holm), str(of.n)]


def p_cell(p: float | None) -> str:
    return NONE if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


@dataclass(frozen=True)
class System:
    title: str
    told: Sequence[str]
    """Parts of the verdict."""
    here: dict[str, str]
    """What stands beside the published figures, by the names in `published.toml`."""
    blocks: Sequence[Block]

    @property
    def verdict(self) -> str:
        return "; ".join(self.told) or "not measured yet"
