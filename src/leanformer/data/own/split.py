"""The division of one file into training and validation rows, a function of their texts and a seed.

    key(row)   = sha256("SEED" newline texts of the row), the same for equal texts, so that copies stay on one side
    size       = a tenth of the rows or 50, whichever is more, but never more than a quarter
    validation = in every stratum of s texts the first ones by key, about size / n of them, at most s - 1

The strata are the classes; a class of one text is for training. Questions are divided by their context. Adding rows to
a file moves few of the others to another side, and their order plays no part.
"""

import hashlib
from collections.abc import Hashable, Sequence
from math import ceil

import numpy as np
from numpy.typing import NDArray

SHARE, LEAST, MOST = 0.1, 50, 0.25


def held_out_size(rows: int) -> int:
    """Returns the number of rows for validation."""
    return min(max(round(SHARE * rows), LEAST), int(MOST * rows))


def held_out(texts: Sequence[Sequence[str]], strata: Sequence[Hashable], seed: int) -> NDArray[np.bool_]:
    """Returns (N,), which rows are for validation; a text belongs to the stratum of its first row."""
    units: dict[str, list[int]] = {}
    for i, row in enumerate(texts):
        units.setdefault(_key(row, seed), []).append(i)
    of_stratum: dict[str, list[str]] = {}
    for key, rows in units.items():
        of_stratum.setdefault(repr(strata[rows[0]]), []).append(key)
    chosen = np.zeros(len(texts), dtype=bool)
    share, seen, taken = held_out_size(len(texts)) / len(texts), 0, 0
    for _, keys in sorted(of_stratum.items()):
        if len(keys) == 1:
            continue  # its share is not made up for by others
        seen += len(keys)
        take = min(round(share * seen) - taken, ceil(share * len(keys)), len(keys) - 1)
        taken += take
        for key in sorted(keys)[:take]:
            chosen[units[key]] = True
    return chosen


def _key(texts: Sequence[str], seed: int) -> str:
    return hashlib.sha256("\n".join([str(seed), *texts]).encode("utf-8", "surrogatepass")).hexdigest()
