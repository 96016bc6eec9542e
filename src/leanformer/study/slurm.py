"""The executor of a Slurm cluster: jobs become array tasks, which run on other machines while this process watches.

    submit(job)       a job that waits or runs already is followed, another one goes into the next array
    array             at most `parallel` tasks at a time; jobs of a few minutes that would wait share an allocation
    pre-emption       and the end of the time limit: the runs save their work, and the task is requeued and goes on
    a dead machine    Slurm requeues its tasks; runs go on from their last checkpoint

submitit writes the batch file and carries the jobs; this process reads what they return, and asks the queue which are
left. It leaves them there when it ends.
"""

import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from leanformer.locks import claimed
from leanformer.study.allocation import Allocation
from leanformer.study.job import Job
from leanformer.study.packing import packed
from leanformer.study.queue import Queue
from leanformer.study.slurm_options import submitter
from leanformer.study.starting import Starting, end, unless_finished

TICK = 0.5
"""Seconds between two looks at what tasks have returned."""
PATIENCE = 60.0
"""Seconds that another command has for submitting what it is about to submit in the same directory."""
ASKING = 10.0
"""Seconds between two questions to Slurm."""
LOST = 60.0
"""Seconds that a network file system has for showing what a task that has ended returned."""


class SlurmArray:
    """`workers` jobs run at a time in one allocation, one per GPU if 0. `options` are sbatch's."""

    def __init__(self, study: Path, options: Mapping[str, str], parallel: int, workers: int) -> None:
        self._queue, self._folder = Queue(study), Path.cwd()
        self._submitter = submitter(self._queue.folder, options, parallel)
        self._parallel, self._workers = parallel, workers
        self._waiting = list[tuple[Job, Future[None]]]()
        self._tasks = dict[str, list[tuple[Job, Future[None]]]]()
        """{task: jobs and their futures} of the tasks that are followed."""
        self._gone = dict[str, float]()
        """When a task was first missing in the queue."""
        self._starting, self._lock, self._left = Starting(), threading.Lock(), threading.Event()

    def __enter__(self) -> Self:
        self._queue.close_ended()
        self._thread = threading.Thread(target=self._watch, name="slurm", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._left.set()
        self._thread.join()
        for _job, future in self._waiting:
            future.cancel()
        with suppress(OSError):  # a later command does it
            self._queue.close_ended()
        left = sorted({task.partition("_")[0] for task in self._tasks})
        if left:
            print(
                f"note: {sum(map(len, self._tasks.values()))} jobs stay in Slurm's queue: the same command with "
                f"--resume goes on with them, scancel {' '.join(left)} ends them",
                flush=True,
            )

    def submit(self, job: Job) -> "Future[None]":
        future = Future[None]()
        self._starting.expect(job, future)
        with self._lock:
            self._waiting.append((job, future))
        return future

    def _watch(self) -> None:
        asked = 0.0
        while not self._left.wait(TICK):
            try:
                self._submit()
                if time.monotonic() - asked > ASKING:
                    asked = time.monotonic()
                    self._ask()
                self._collect()
                self._starting.look()
            except Exception as error:
                self._fail(error)

    def _submit(self) -> None:
        """Follow what Slurm has of the jobs that wait, and submit the others as one array, while no other command does
        the same here: of two that begin at once, one follows what the other has submitted."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        try:
            with claimed(self._queue.folder, PATIENCE):
                places = self._queue.places()
                for job, future in waiting:
                    if job.name in places:
                        self._tasks.setdefault(places[job.name].task, []).append((job, future))
                self._submit_array({job: future for job, future in waiting if job.name not in places})
        except Exception as error:  # submitit's, of sbatch: the jobs that are not submitted, and the study, end with it
            followed = {future for jobs in self._tasks.values() for _, future in jobs}
            for _, future in waiting:
                if future not in followed:
                    future.set_exception(OSError(f"Slurm did not take the jobs: {' '.join(str(error).split())}"))

    def _submit_array(self, futures: "Mapping[Job, Future[None]]") -> None:
        if not futures:
            return
        packs = packed(list(futures), self._parallel, self._workers)
        number = self._queue.announce(packs)
        try:
            self._submitter.update_parameters(comment=number)
            work = [SlurmAllocation(pack, self._workers, self._folder) for pack in packs]
            tasks = [task.job_id for task in self._submitter.submit_array(work)]
        except Exception:
            self._queue.withdraw(number)
            raise
        for task, pack in zip(tasks, packs, strict=True):
            self._tasks[task] = [(job, futures[job]) for job in pack]
        with suppress(OSError):  # the disk is full: the array's comment says whose it is
            self._queue.confirm(number, tasks)

    def _ask(self) -> None:
        """Note which tasks have left the queue; a controller that does not answer is asked again later."""
        try:
            present = {place.task for place in self._queue.places().values()}
        except OSError:
            self._gone = {}  # nothing is known of the time without an answer
            return
        now = time.monotonic()
        self._gone = {task: self._gone.get(task, now) for task in self._tasks if task not in present}

    def _collect(self) -> None:
        for task in list(self._tasks):
            outcome = self._returned(task)
            if outcome is None and time.monotonic() - self._gone.get(task, time.monotonic()) > LOST:
                log = self._queue.folder / f"{task}_0_log.out"
                outcome = f"task {task} left Slurm's queue and returned nothing; its log is {log}"
            if outcome is not None:
                for job, future in self._tasks.pop(task):
                    end(future, outcome.get(job.name) if isinstance(outcome, dict) else unless_finished(job, outcome))

    def _returned(self, task: str) -> dict[str, str | None] | str | None:
        """What a task has returned, the last line of its error, or None before it ends."""
        from submitit.core.utils import pickle_load

        file = self._queue.result(task)
        if file.name not in {entry.name for entry in self._queue.folder.glob(f"{task}_0_*")}:  # reads the folder anew
            return None
        kind, value = pickle_load(file)
        return dict(value) if kind == "success" else str(value).strip().splitlines()[-1]

    def _fail(self, error: Exception) -> None:
        """An error of the watching itself ends all that is watched, and is raised by the study."""
        for jobs in self._tasks.values():
            for _, future in jobs:
                future.set_exception(error)
        self._tasks.clear()


class SlurmAllocation(Allocation):
    """An allocation that submitit restarts: on the signal before the end it saves all work, and begins again."""

    def checkpoint(self) -> Any:
        from submitit.helpers import DelayedSubmission

        self.stop()
        return DelayedSubmission(SlurmAllocation(self.jobs, self.workers, self.folder))
