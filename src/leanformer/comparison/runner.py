"""Run commands, a process each, several at a time; a signal stops them all and lets them save their work."""

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from leanformer.training.interrupts import Interrupts


@dataclass(frozen=True, kw_only=True)
class Job:
    """A command of leanformer, the file its output goes to and the curve that tells how far it is."""

    name: str
    arguments: tuple[str, ...]
    log: Path
    curve: Path | None = None
    total: int = 0
    """Steps in the whole run, 0 if unknown."""
    program: tuple[str, ...] = ("-m", "leanformer_cli")
    """What of Python's takes the arguments."""

    def fraction(self) -> float:
        """How far the run is, from the last whole line of its curve."""
        if self.curve is None or not self.total or not self.curve.exists():
            return 0.0
        with self.curve.open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - 1000))
            for line in reversed(file.read().splitlines()):
                with contextlib.suppress(ValueError, KeyError):
                    return min(1.0, json.loads(line)["step"] / self.total)
        return 0.0


def run_jobs(
    jobs: list[Job], workers: int, on_change: Callable[[dict[Job, subprocess.Popen], list[Job], list[Job]], None]
) -> list[Job]:
    """Run all `jobs`, at most `workers` at a time; return those that failed. `on_change(running, done, failed)` is
    called a few times a second. A signal stops them, each after saving its work: exit status 128 + signal."""
    waiting, running = list(jobs), dict[Job, subprocess.Popen]()
    done, failed = list[Job](), list[Job]()
    with Interrupts() as interrupts:
        while waiting or running:
            while waiting and len(running) < workers and not interrupts.signal:
                job = waiting.pop(0)
                running[job] = _start(job)
            for job, process in list(running.items()):
                if process.poll() is not None:
                    del running[job]
                    (failed if process.returncode else done).append(job)
            on_change(running, done, failed)
            if interrupts.signal:
                _stop(running)
                raise SystemExit(128 + interrupts.signal)
            time.sleep(0.25)
    on_change(running, done, failed)
    return failed


def last_line(log: Path) -> str:
    """What a failed command said last."""
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return lines[-1].strip() if lines else "no message"


def _start(job: Job) -> subprocess.Popen:
    job.log.parent.mkdir(parents=True, exist_ok=True)
    with job.log.open("ab") as log:
        return subprocess.Popen(
            [sys.executable, *job.program, *job.arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def _stop(running: dict[Job, subprocess.Popen]) -> None:
    for process in running.values():
        process.terminate()
    for process in running.values():
        process.wait()
