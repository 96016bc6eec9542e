"""Run commands, a process each, several at a time; a signal stops them all and lets them save their work.

They end with this process, however it ends: each has, as its standard input, a pipe that only this process can write
to, and ends when the pipe does, after saving its work (`leanformer_cli.ending`). Whatever they start inherits the pipe.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from leanformer.training.run.interrupts import Interrupts

LIFELINE = "LEANFORMER_LIFELINE"
"""In the environment of a command: which pipe, as its standard input, ends when the process that started it does."""


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
    jobs: list[Job], workers: int, on_change: Callable[[dict[Job, subprocess.Popen], list[Job], dict[Job, str]], None]
) -> dict[Job, str]:
    """Run all `jobs`, at most `workers` at a time; return those that failed, with the reason. `on_change(running, done,
    failed)` is called a few times a second. A signal stops them, each after saving its work: exit status 128 + signal.
    """
    waiting, running = list(jobs), dict[Job, subprocess.Popen]()
    done, failed = list[Job](), dict[Job, str]()
    with Interrupts() as interrupts, _lifeline() as lifeline:
        try:
            while waiting or running:
                while waiting and len(running) < workers and not interrupts.signal:
                    job = waiting.pop(0)
                    running[job] = _start(job, lifeline)
                for job, process in list(running.items()):
                    if process.poll() is not None:
                        del running[job]
                        if process.returncode:
                            failed[job] = reason(job, process.returncode)
                        else:
                            done.append(job)
                on_change(running, done, failed)
                if interrupts.signal:
                    raise SystemExit(128 + interrupts.signal)
                time.sleep(0.25)
        finally:
            _stop(running)
    on_change(running, done, failed)
    return failed


def reason(job: Job, status: int) -> str:
    """Why the command failed: the signal that ended it, or what it said last."""
    number = -status if status < 0 else status - 128
    if number in set(signal.Signals):
        perhaps = " (perhaps the machine ran out of memory)" if number == getattr(signal, "SIGKILL", None) else ""
        return f"ended by {signal.Signals(number).name}{perhaps}, its log is {job.log}"
    lines = [line for line in job.log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    said = lines[-1].strip() if lines else ""
    return f"exit status {status}, its log is {job.log}" if not said or said == _begins(job) else said


def _begins(job: Job) -> str:
    return f"--- {job.name}"


@contextlib.contextmanager
def _lifeline() -> Iterator[int]:
    """The end of the pipe to read from."""
    ends = os.pipe()
    try:
        yield ends[0]
    finally:
        for end in ends:
            os.close(end)


def _start(job: Job, lifeline: int) -> subprocess.Popen:
    pipe = os.fstat(lifeline)
    job.log.parent.mkdir(parents=True, exist_ok=True)
    with job.log.open("ab") as log:
        log.write(f"{_begins(job)}\n".encode())
        log.flush()
        return subprocess.Popen(
            [sys.executable, *job.program, *job.arguments],
            stdin=lifeline,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=os.environ | {LIFELINE: f"{pipe.st_dev}:{pipe.st_ino}"},
        )


def _stop(running: dict[Job, subprocess.Popen]) -> None:
    for process in running.values():
        process.terminate()
    for process in running.values():
        process.wait()
