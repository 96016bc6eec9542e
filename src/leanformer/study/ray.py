"""The executor of a Ray cluster: tasks with their CPUs and their part of a GPU, which short jobs share if many wait.

The cluster is the one of RAY_ADDRESS, or one on this machine that lasts as long as the study. Ray starts a task again
on another machine when its own dies, and the run goes on from its last checkpoint, which lies in the shared directory;
the only object that a task returns is the reason of a failure.
"""

import os
import threading
from collections import deque
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from leanformer.install import how_to_install
from leanformer.study.allocation import PATIENCE, Allocation
from leanformer.study.job import Job
from leanformer.study.packing import packed
from leanformer.study.starting import Starting, end, unless_finished

TICK = 0.5
"""Seconds between two looks at the tasks."""
RETRIES = 20
"""Times that a task whose machine has died is started again."""


class RayTasks:
    """At most `parallel` tasks at a time, as many as the cluster has room for if 0. A task takes `threads` CPUs, and
    where the cluster has GPUs one, which `per_gpu` tasks share."""

    def __init__(self, parallel: int, threads: int, per_gpu: int = 1) -> None:
        self._parallel, self._threads, self._per_gpu = parallel, threads, per_gpu
        self._folder = Path.cwd()
        self._waiting = list[tuple[Job, Future[None]]]()
        self._packs = deque[list[tuple[Job, Future[None]]]]()
        """Each becomes a task."""
        self._tasks = dict[Any, list[tuple[Job, Future[None]]]]()
        self._starting, self._lock, self._left = Starting(), threading.Lock(), threading.Event()

    def __enter__(self) -> Self:
        self._ray = _ray()
        self._own = not self._ray.is_initialized()
        if self._own:
            environment = {name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ}
            self._ray.init(log_to_driver=False, logging_level="error", runtime_env={"env_vars": environment})
        there = self._ray.cluster_resources()
        gpus = 1 / self._per_gpu if there.get("GPU") else 0
        room = there["GPU"] / gpus if gpus else there.get("CPU", 0) / self._threads
        self._at_a_time = max(1, min(int(room), self._parallel or int(room)))
        resources = {"num_cpus": self._threads, "num_gpus": gpus, "max_retries": RETRIES}
        self._carry_out = self._ray.remote(**resources)(carry_out)
        self._thread = threading.Thread(target=self._watch, name="ray", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._left.set()
        self._thread.join()
        for _job, future in [*self._waiting, *(each for pack in self._packs for each in pack)]:
            future.cancel()
        for task in self._tasks:
            with suppress(Exception):  # its machine is gone
                self._ray.cancel(task)
        if self._tasks:
            self._ray.wait(list(self._tasks), num_returns=len(self._tasks), timeout=PATIENCE)
        if self._own:
            self._ray.shutdown()

    def submit(self, job: Job) -> "Future[None]":
        future = Future[None]()
        self._starting.expect(job, future)
        with self._lock:
            self._waiting.append((job, future))
        return future

    def _watch(self) -> None:
        while not self._left.is_set():
            try:
                self._start()
                self._collect()
                self._starting.look()
            except Exception as error:  # the cluster is gone: the study ends with it
                packs = [*self._tasks.values(), *self._packs, self._waiting]
                for future in [future for pack in packs for _, future in pack]:
                    if not future.done():
                        future.set_exception(OSError(f"Ray: {' '.join(str(error).split())}"))
                return

    def _start(self) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, []
        futures = dict(waiting)
        for jobs in packed([job for job, _ in waiting], self._at_a_time, 1):
            self._packs.append([(job, futures[job]) for job in jobs])
        while self._packs and (not self._parallel or len(self._tasks) < self._parallel):
            pack = self._packs.popleft()
            work = Allocation([job for job, _ in pack], 1, self._folder)
            self._tasks[self._carry_out.options(name=pack[0][0].name).remote(work)] = pack

    def _collect(self) -> None:
        if not self._tasks:
            self._left.wait(TICK)
            return
        ended, _ = self._ray.wait(list(self._tasks), num_returns=1, timeout=TICK)
        for task in ended:
            pack = self._tasks.pop(task)
            try:
                outcome = self._ray.get(task)
            except self._ray.exceptions.RayError as error:
                why = str(error).strip().splitlines()[-1]
                outcome = {job.name: unless_finished(job, why) for job, _ in pack}
            for job, future in pack:
                end(future, outcome[job.name])


def carry_out(work: Allocation) -> dict[str, str | None]:
    return work()


def _ray() -> Any:
    try:
        import ray
    except ImportError:
        raise ValueError(f"--executor ray needs Ray: {how_to_install('ray')}") from None
    return ray
