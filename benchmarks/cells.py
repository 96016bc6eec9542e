"""The cells of the protocols' tables."""

from collections.abc import Sequence

from leanformer.reporting.numbers.statistics import spread

NONE = "\N{EN DASH}"


def mean_sd(values: Sequence[float], times: float = 1.0, digits: int = 1) -> str:
    found = spread(values)
    if found.mean is None:
        return NONE
    return f"{times * found.mean:.{digits}f}" + (f" ± {times * found.sd:.{digits}f}" if found.sd is not None else "")
