"""RUN/scores/PART.npz: losses of a finished run on held-out text, per sequence (from `training/run/scores.py`)."""

import io
from pathlib import Path
from typing import NamedTuple
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from leanformer import files


class Losses(NamedTuple):
    """m sequences of a held-out part."""

    losses: NDArray[np.float64]
    """(m,) -log p, summed over the targets of each, nats."""
    targets: NDArray[np.int64]
    """(m,) how many those are."""
    sequences: NDArray[np.int64]
    """(m,) which sequence of the part it is."""
    documents: NDArray[np.int64]
    """(m,) in which document it begins."""


def read_losses(path: Path, sha256: str, remedy: str) -> Losses:
    """FileNotFoundError if there is no such file, ValueError of one line if it is not the one with this sha256."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing, though its run is scored: {remedy}")
    content = path.read_bytes()
    if files.sha256_of(content) != sha256:
        raise ValueError(f"{path} is damaged (its content is not what its run.json says): {remedy}")
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            found = [np.asarray(arrays[name]) for name in Losses._fields]
    except (ValueError, KeyError, OSError, BadZipFile) as error:
        raise ValueError(f"{path} is damaged ({error}): {remedy}") from None
    sizes = {array.shape for array in found}
    if len(sizes) != 1 or found[0].ndim != 1 or not np.isfinite(found[0]).all():
        raise ValueError(f"{path} is damaged (its columns are not as long as each other, or not finite): {remedy}")
    return Losses(found[0].astype(np.float64), *(array.astype(np.int64) for array in found[1:]))
