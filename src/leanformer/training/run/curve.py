"""curve.jsonl, which has one line per logged step.

    step, tokens, seconds, loss, learning_rate, gradient_norm (if clipped), validation_loss (where it was measured)

`loss` is the mean over all targets since the previous line; `learning_rate` and `gradient_norm` are those of the step
itself. Every line is written as a whole, so a reader may follow the file while the run writes it.
"""

import json
import os
from pathlib import Path
from typing import Any

from leanformer import files
from leanformer.records.reading import read_lines
from leanformer.records.run import CurveLine


class Curve:
    """The curve of a run, cut to its first `keep` bytes (those of a checkpoint) and then appended to."""

    def __init__(self, path: Path, keep: int = 0, sha256: str | None = None) -> None:
        """Raises ValueError as `require_prefix` does."""
        self.path = path
        require_prefix(path, keep, sha256)
        with path.open("ab") as file:
            file.truncate(keep)

    def append(self, line: dict[str, Any]) -> None:
        try:
            with self.path.open("ab") as file:
                file.write(json.dumps(line).encode() + b"\n")
        except OSError as error:
            raise OSError(f"cannot write {self.path} ({error.strerror}): free disk space") from error

    def force_to_disk(self) -> int:
        """Write the curve to disk; returns its length in bytes."""
        with self.path.open("rb") as file:
            os.fsync(file.fileno())
            return os.fstat(file.fileno()).st_size


def require_prefix(path: Path, length: int, sha256: str | None) -> None:
    """Raises ValueError unless the curve has its first `length` bytes, and they have this sha256."""
    size = path.stat().st_size if path.exists() else 0
    if size < length:
        raise ValueError(f"{path} has {size} bytes, not the checkpoint's {length}: restore it, or start over")
    if sha256 is not None and files.sha256_of_part(path, 0, length) != sha256:
        raise ValueError(f"{path} was edited or damaged since the checkpoint: restore it, or start over")


def read_curve(path: Path) -> list[dict[str, Any]]:
    """Returns the complete lines; the last line may be incomplete if the run was killed."""
    return list(read_lines(path, CurveLine, "restore it, or start its run again"))
