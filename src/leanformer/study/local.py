"""The executor of this machine: a process per job, several at a time.

Commands are forks of one process that has the libraries loaded (`forking.py`); where jobs share GPUs, and for other
programs, each is started afresh. The processes end with this one, however it ends: each has, as its standard input, a
pipe that only this process can write to, and ends when the pipe does, after saving its work (`leanformer_cli.ending`).
Whatever they start inherits the pipe.
"""

import os
import signal
import subprocess
import threading
from collections import Counter, deque
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Self

from leanformer.study.executor import JobFailed
from leanformer.study.forking import Fork, ForkServer, forks
from leanformer.study.job import Job

LIFELINE = "LEANFORMER_LIFELINE"
"""The variable that tells a command which pipe, its standard input, ends with the process that started it."""


class LocalProcesses:
    """Runs at most `workers` jobs at a time, in the order in which they are submitted.

    Each job sees one of the GPUs in `devices` (names as in CUDA_VISIBLE_DEVICES), the one that the fewest jobs use.
    """

    def __init__(self, workers: int, devices: Sequence[str] = ()) -> None:
        self._free = workers
        self._users = Counter[str](dict.fromkeys(devices, 0))
        self._waiting = deque[tuple[Job, Future[None]]]()
        self._running = dict[Job, subprocess.Popen[bytes] | Fork]()
        self._server: ForkServer | None = None
        self._lock = threading.RLock()

    def __enter__(self) -> Self:
        self._lifeline = os.pipe()
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.stop()
        finally:
            if self._server is not None:
                self._server.close()
            for end in self._lifeline:
                os.close(end)

    def stop(self) -> None:
        """Start no other jobs, ask those that run to end, and wait until they have saved their work."""
        with self._lock:
            waiting, left = [future for _, future in self._waiting], list(self._running.values())
            self._waiting.clear()
        for future in waiting:
            future.cancel()
            future.set_running_or_notify_cancel()  # tells those who wait for it
        for process in left:
            with suppress(OSError):  # the fork server is gone, and its forks end with it
                process.send_signal(signal.SIGTERM)
        for process in left:
            process.wait()

    def submit(self, job: Job) -> "Future[None]":
        future = Future[None]()
        with self._lock:
            self._waiting.append((job, future))
            self._start()
        return future

    def _start(self) -> None:
        """Start what waits for a free place."""
        while self._waiting and self._free > 0:
            job, future = self._waiting.popleft()
            if not future.set_running_or_notify_cancel():
                continue
            device = min(self._users, key=self._users.__getitem__, default=None)
            try:
                self._running[job] = self._process(job, device)
            except OSError as error:
                future.set_exception(error)
                continue
            self._free -= 1
            if device is not None:
                self._users[device] += 1
            threading.Thread(target=self._await, args=(job, future, device), name=job.name, daemon=True).start()

    def _process(self, job: Job, device: str | None) -> "subprocess.Popen[bytes] | Fork":
        pipe = os.fstat(self._lifeline[0])
        environment = os.environ | {LIFELINE: f"{pipe.st_dev}:{pipe.st_ino}"}
        job.log.parent.mkdir(parents=True, exist_ok=True)
        with job.log.open("ab") as log:
            log.write(f"{_begins(job)}\n".encode())
            log.flush()
            if device is None and forks(job):
                return self._living_server(environment).start(job)
            visible = {} if device is None else {"CUDA_VISIBLE_DEVICES": device}
            return subprocess.Popen(
                job.command, stdin=self._lifeline[0], stdout=log, stderr=subprocess.STDOUT, env=environment | visible
            )

    def _living_server(self, environment: dict[str, str]) -> ForkServer:
        """Returns the fork server, a new one at the first job and where the last one was killed."""
        if self._server is None or not self._server.alive:
            if self._server is not None:
                self._server.close()
            self._server = ForkServer(self._lifeline[0], environment)
        return self._server

    def _await(self, job: Job, future: "Future[None]", device: str | None) -> None:
        status = self._running[job].wait()
        with self._lock:
            del self._running[job]
            self._free += 1
            if device is not None:
                self._users[device] -= 1
            self._start()
        if status:
            future.set_exception(JobFailed(reason(job, status)))
        else:
            future.set_result(None)


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
