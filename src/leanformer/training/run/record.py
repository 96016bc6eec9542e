"""A run directory and its record.

    run.json      settings, seed, versions, hardware, ledger, data, floor (the no-context baselines), status and
                  results; written before step 1
    curve.jsonl   see `curve`
    checkpoint/   see `checkpoint`
    scores/       see `scores` and `score_points`
    kept/         see `kept_models`
    model/        save_pretrained and the tokenizer, when the run is finished

`status` is running (or killed: the directory's lock shows which), stopped (by a signal), failed or finished.
"""

import platform
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from leanformer import files, locks
from leanformer.records import reading
from leanformer.records.run import CURVE, RECORD, Run
from leanformer.training.run.interrupts import Stopped
from leanformer.version import __version__


@dataclass(frozen=True)
class RunDirectory:
    path: Path

    @property
    def record(self) -> Path:
        return self.path / RECORD

    @property
    def curve(self) -> Path:
        return self.path / CURVE

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoint"

    @property
    def model(self) -> Path:
        return self.path / "model"

    @property
    def scores(self) -> Path:
        return self.path / "scores"

    @property
    def kept(self) -> Path:
        return self.path / "kept"

    @property
    def finished(self) -> bool:
        """Whether the directory holds a finished run."""
        return self.record.is_file() and self.read().get("status") == "finished"

    def read(self, schema: type[reading.Record] = Run) -> dict[str, Any]:
        """Returns the checked content of run.json.

        Raises FileNotFoundError if there is none, ValueError if it is damaged.
        """
        if not self.record.is_file():
            raise FileNotFoundError(f"no run in {self.path} (it has no run.json): leave out --resume to start one")
        return reading.read(self.record, schema, "restore it, or choose another --out")

    def write(self, record: Mapping[str, Any]) -> None:
        files.write_json(self.record, reading.sealed({"schema": reading.SCHEMA, **record}))

    def update(self, **changes: Any) -> dict[str, Any]:
        record = self.read() | changes
        self.write(record)
        return record

    def require_unused(self) -> None:
        """Raises FileExistsError if the directory holds a run, finished or not, or a saved model. A log is allowed."""
        if self.record.is_file():
            status = self.read().get("status")
            remedy = "" if status == "finished" else "continue it with --resume, or "
            raise FileExistsError(f"{self.path} already holds a run (status {status}): {remedy}choose another --out")
        if (self.path / "config.json").is_file():
            raise FileExistsError(f"{self.path} holds a saved model, which a run would hide: choose another --out")
        for path in (self.curve, self.checkpoints, self.scores, self.kept, self.model):
            if path.exists():
                raise FileExistsError(f"{path} already exists, but belongs to no run: choose another --out")

    @contextmanager
    def claimed(self, new: bool) -> Iterator[None]:
        """Lock this directory for one process (`locks`), and create or tidy it."""
        with locks.claimed(self.path):
            if new:
                self.require_unused()
            for folder, name in (
                (self.path, RECORD),
                (self.path, "model"),
                (self.path, "scores"),
                (self.scores, "step-*"),
                (self.checkpoints, "step-*"),
                (self.kept, "step-*"),
            ):
                files.remove_leftovers(folder, name)
            yield

    @contextmanager
    def outcome(self) -> Iterator[None]:
        """Record a block that stops or fails; one that reaches its end is not recorded here."""
        try:
            yield
        except Stopped:
            self.update(status="stopped")
            raise
        except Exception as error:
            with suppress(OSError):  # a full disk: the record stays as it is, the first error is the one to show
                self.update(status="failed", error=str(error))
            raise


def versions() -> dict[str, str | None]:
    packages = {name: version(name) for name in ("torch", "transformers", "accelerate", "tokenizers", "numpy")}
    return {"leanformer": __version__, "commit": _commit(), "python": platform.python_version(), **packages}


def _commit() -> str | None:
    """Returns the commit of this package's checkout, with -dirty if files differ; None for an installed package."""
    root = Path(__file__).parents[4]
    if not (root / ".git").exists():
        return None
    try:
        command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() or None
    except (OSError, subprocess.CalledProcessError):
        return None
