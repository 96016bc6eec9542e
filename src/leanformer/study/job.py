"""A unit of work of a study, as a description: what to run, where its result lies, and what says that it is done.

A job holds no function and no open file, so it can be written down, compared, and run in another process or on another
machine that sees the same files. One without arguments is work that its study does in its own process.
"""

import contextlib
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from leanformer.training.run.record import RunDirectory

RECORDS = ("run.json", "comparison.json")
"""What a command writes into its directory before its first step."""
COMMAND = ("-m", "leanformer_cli")
"""What Python runs as the `leanformer` command."""
RESUMED = ("pretrain", "distill", "compare")
"""Commands that go on with --resume; the others do so by themselves."""


@dataclass(frozen=True, kw_only=True)
class Job:
    name: str
    """Unique within its study; messages call the job by it."""
    directory: Path
    arguments: tuple[str, ...] = ()
    program: tuple[str, ...] = COMMAND
    """What Python runs with the arguments."""
    log: Path = Path(os.devnull)
    """The file that the output is appended to."""
    steps: int = 0
    """Steps of the whole run, 0 if unknown."""
    seconds: float = 0.0
    """Estimated duration of the job, 0 if unknown."""

    @property
    def command(self) -> list[str]:
        """Its command line; a job that was begun goes on."""
        begun = any((self.directory / name).exists() for name in RECORDS)
        resume = ("--resume",) if begun and self.arguments[:1] and self.arguments[0] in RESUMED else ()
        return [sys.executable, *self.program, *self.arguments, *resume]

    @property
    def ready(self) -> bool:
        """Whether all is there that the job needs of others."""
        return True

    @property
    def products(self) -> tuple[Path, ...]:
        """Files that are all there when the job is done."""
        return (self.directory / "run.json",)

    @property
    def finished(self) -> bool:
        """Whether all products are there; a run.json must say that its run has reached its end."""
        return all(
            RunDirectory(path.parent).finished if path.name == "run.json" else path.is_file() for path in self.products
        )

    def fraction(self) -> float:
        """How much of the run is done, from 0 to 1, by the last whole line of its curve."""
        curve = self.directory / "curve.jsonl"
        if not self.steps or not curve.exists():
            return 0.0
        with curve.open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - 1000))
            for line in reversed(file.read().splitlines()):
                with contextlib.suppress(ValueError, KeyError):
                    return min(1.0, json.loads(line)["step"] / self.steps)
        return 0.0
