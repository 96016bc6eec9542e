"""What runs on the machine that a scheduler has chosen: the jobs of one allocation, as processes of that machine.

The machine shares only a directory with the one that submitted the jobs. A job that is finished already is not run
again. One whose directory another process still holds is waited for: after a restart on another machine the lock of a
dead process is taken over when nothing has touched it for a minute (`leanformer.locks`).
"""

import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import wait
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path

from leanformer.locks import NAME, claimed
from leanformer.study.executor import JobFailed
from leanformer.study.job import Job
from leanformer.study.local import LocalProcesses
from leanformer.training.machine.hardware import visible_devices

PATIENCE = 60.0
"""Seconds that a process whose study or machine is gone has for saving its work."""
GRACE = 600.0
"""Seconds that a scheduler has for ending what it has asked to end."""


class Allocation:
    """Jobs that run in one allocation, `workers` of them at a time, one per GPU if 0 (one without a GPU)."""

    def __init__(self, jobs: Sequence[Job], workers: int, folder: Path) -> None:
        self.jobs = [_plain(job) for job in jobs]
        self.workers, self.folder = workers, folder
        self._processes: LocalProcesses | None = None

    def __call__(self) -> dict[str, str | None]:
        """Run what is not finished; returns {name of the job: None, or the reason why it failed}."""
        os.chdir(self.folder)
        devices, outcome = visible_devices(), dict[str, str | None]()
        with LocalProcesses(self.workers or len(devices) or 1, devices) as self._processes, self._ending():
            futures = {}
            for job in self.jobs:
                outcome[job.name] = _wait_for_others(job)
                if outcome[job.name] is None and not job.finished:
                    futures[job.name] = self._processes.submit(job)
            wait(futures.values())
        for name, future in futures.items():
            outcome[name] = "not started" if future.cancelled() else _why(future.exception())
        return outcome

    def stop(self) -> None:
        """Let the jobs that run save their work and end, and start no others."""
        if self._processes is not None:
            self._processes.stop()

    @contextmanager
    def _ending(self) -> Iterator[None]:
        """SIGTERM, sent before a scheduler ends or requeues the allocation, stops the jobs; what follows is its own to
        decide, so that a process that returned at once would count as done."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        ending = threading.Event()

        def end(*_: object) -> None:
            ending.set()
            self.stop()

        before = signal.signal(signal.SIGTERM, end)
        try:
            yield
            if ending.is_set():
                time.sleep(GRACE)
        finally:
            signal.signal(signal.SIGTERM, before)


def _plain(job: Job) -> Job:
    """The job without what a study has added to it, which another machine need not be able to import."""
    return Job(**{field.name: getattr(job, field.name) for field in fields(Job)})


def _wait_for_others(job: Job) -> str | None:
    """Why the job cannot be started: its directory, or one in it, is in use."""
    for lock in job.directory.rglob(NAME):
        try:
            with claimed(lock.parent, PATIENCE):
                pass
        except FileExistsError as error:
            return str(error)
    return None


def _why(error: BaseException | None) -> str | None:
    if error is None or isinstance(error, JobFailed):
        return None if error is None else str(error)
    raise error
