"""Where jobs run: the interface, in the form of `concurrent.futures`.

    with executor:
        future = executor.submit(job)
        future.result()                   None, or JobFailed with the reason

An executor decides how many jobs run at a time and on which machine. When its block is left, by an error or a signal
too, it starts no other jobs. Processes of this machine (`local.py`) and tasks of Ray (`ray.py`) are asked to end, and
it waits until they have saved their work. Jobs in Slurm's queue (`slurm.py`) stay there: a later command finds them.
"""

from concurrent.futures import Future
from contextlib import AbstractContextManager
from typing import Any, Protocol

from leanformer.study.job import Job


class JobFailed(Exception):
    """The reason why a job failed, one line."""


class Executor(AbstractContextManager[Any], Protocol):
    def submit(self, job: Job) -> "Future[None]":
        """The job's end; it is `running()` from its start on."""
