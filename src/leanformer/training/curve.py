"""curve.jsonl: one line for every logged step.

    step, tokens, seconds, loss, learning_rate, gradient_norm (if clipped), validation_loss (where it was measured)

`loss` is the mean over all targets since the line before; `learning_rate` and `gradient_norm` are those of the step
itself. A line is complete on its own, so a reader may follow the file while the run writes it.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from leanformer.records.reading import read_lines
from leanformer.records.run import CurveLine


class Curve:
    """Appends to the curve, after cutting off what lies beyond its first `keep` bytes (a checkpoint's)."""

    def __init__(self, path: Path, keep: int = 0, sha256: str | None = None) -> None:
        """ValueError if the first `keep` bytes are not there, or not those whose sha256 is given."""
        self.path = path
        size = path.stat().st_size if path.exists() else 0
        if size < keep:
            raise ValueError(f"{path} has {size} bytes, not the checkpoint's {keep}: restore it, or start over")
        if sha256 is not None and self.prefix_hash(keep) != sha256:
            raise ValueError(f"{path} was edited or damaged since the checkpoint: restore it, or start over")
        with path.open("ab") as file:
            file.truncate(keep)

    def append(self, line: dict[str, Any]) -> None:
        try:
            with self.path.open("ab") as file:
                file.write(json.dumps(line).encode() + b"\n")
        except OSError as error:
            raise OSError(f"cannot write {self.path} ({error.strerror}): free disk space") from error

    def prefix_hash(self, length: int) -> str:
        """sha256 of the first `length` bytes."""
        if not length:
            return hashlib.sha256().hexdigest()
        with self.path.open("rb") as file:
            return hashlib.sha256(file.read(length)).hexdigest()

    def force_to_disk(self) -> int:
        """The bytes that are there for good."""
        with self.path.open("rb") as file:
            os.fsync(file.fileno())
            return os.fstat(file.fileno()).st_size


def read_curve(path: Path) -> list[dict[str, Any]]:
    """The complete lines; the last one may be half-written if the run was killed."""
    return list(read_lines(path, CurveLine, "restore it, or start its run again"))
