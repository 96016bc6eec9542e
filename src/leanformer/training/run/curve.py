"""curve.jsonl: one line for every logged step.

    step, tokens, seconds, loss, learning_rate, gradient_norm (if clipped), validation_loss (where it was measured)

`loss` is the mean over all targets since the line before; `learning_rate` and `gradient_norm` are those of the step
itself. A line is complete on its own, so a reader may follow the file while the run writes it.
"""

import json
import os
from pathlib import Path
from typing import Any

from leanformer import files
from leanformer.records.reading import read_lines
from leanformer.records.run import CurveLine


class Curve:
    """Appends to the curve, after cutting off what lies beyond its first `keep` bytes (a checkpoint's)."""

    def __init__(self, path: Path, keep: int = 0, sha256: str | None = None) -> None:
        """ValueError as of `require_prefix`."""
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
        """The bytes that are there for good."""
        with self.path.open("rb") as file:
            os.fsync(file.fileno())
            return os.fstat(file.fileno()).st_size


def require_prefix(path: Path, length: int, sha256: str | None) -> None:
    """ValueError unless the curve's first `length` bytes are there, and are those whose sha256 is given."""
    size = path.stat().st_size if path.exists() else 0
    if size < length:
        raise ValueError(f"{path} has {size} bytes, not the checkpoint's {length}: restore it, or start over")
    if sha256 is not None and files.sha256_of_part(path, 0, length) != sha256:
        raise ValueError(f"{path} was edited or damaged since the checkpoint: restore it, or start over")


def read_curve(path: Path) -> list[dict[str, Any]]:
    """The complete lines; the last one may be half-written if the run was killed."""
    return list(read_lines(path, CurveLine, "restore it, or start its run again"))
