"""Commands as forks of one process that has the libraries loaded: the study's side of `leanformer_cli.fork_server`.

A fork computes what a process of its own computes, to the bit, and saves some five seconds of a core per command. There
is none where a GPU is used, whose driver does not survive a fork, or where the system cannot fork.
"""

import json
import os
import subprocess
import sys
import threading
from itertools import count

import torch

from leanformer.study.job import COMMAND, Job

GONE = -9
"""The status of commands whose server has gone, for want of memory: they end with it."""


def can_fork() -> bool:
    """Whether commands run as forks here: the system has them and uses no GPU."""
    return sys.platform == "linux" and not torch.cuda.is_available()


def forks(job: Job) -> bool:
    """Whether a fork runs this job: it is a command, and commands run as forks here."""
    return job.program == COMMAND and not job.arguments[0].startswith("-") and can_fork()


class ForkServer:
    """Starts jobs. `lifeline` becomes the standard input of all (`local.py`)."""

    def __init__(self, lifeline: int, environment: dict[str, str]) -> None:
        theirs, self._requests = os.pipe()
        answers, their_answers = os.pipe()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "leanformer_cli.fork_server", str(theirs), str(their_answers)],
            stdin=lifeline,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(theirs, their_answers),
            env=environment,
        )
        os.close(theirs)
        os.close(their_answers)
        self._numbers, self._lock = count(), threading.Lock()
        self._running = dict[int, Fork]()
        self._reader = threading.Thread(target=self._read, args=(answers,), name="fork server", daemon=True)
        self._reader.start()

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def start(self, job: Job) -> "Fork":
        fork = Fork(self, next(self._numbers))
        with self._lock:
            self._running[fork.number] = fork
        self.request(number=fork.number, arguments=job.command[1 + len(job.program) :], log=str(job.log))
        return fork

    def request(self, **request: object) -> None:
        """OSError if the server is gone."""
        os.write(self._requests, json.dumps(request).encode() + b"\n")

    def close(self) -> None:
        """Wait until all commands have ended."""
        os.close(self._requests)
        self._process.wait()
        self._reader.join()

    def _read(self, answers: int) -> None:
        with open(answers, "rb") as lines:
            for line in lines:
                answer = json.loads(line)
                with self._lock:
                    self._running.pop(answer["number"]).end(answer["status"])
        with self._lock:
            for fork in self._running.values():
                fork.end(GONE)
            self._running.clear()


class Fork:
    """A command that runs: what `subprocess.Popen` says of it."""

    def __init__(self, server: ForkServer, number: int) -> None:
        self._server, self.number = server, number
        self._ended, self._status = threading.Event(), 0

    def end(self, status: int) -> None:
        self._status = status
        self._ended.set()

    def wait(self) -> int:
        """Returns its exit status, or -N if signal N ended it."""
        self._ended.wait()
        return self._status

    def send_signal(self, number: int) -> None:
        self._server.request(number=self.number, signal=number)
