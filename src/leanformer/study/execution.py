"""`--executor`, `--parallel`, `--slurm`, `--jobs` and `--shard`: where the jobs of a study run, as its user has asked.

local    processes of this machine, `jobs` at a time
slurm    array tasks, `parallel` at a time, `jobs` runs at a time in each
ray      tasks of a Ray cluster, at most `parallel` at a time, `jobs` of them per GPU
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

from leanformer.cores import cores
from leanformer.spelling import suggest
from leanformer.study.executor import Executor
from leanformer.study.local import LocalProcesses
from leanformer.study.queue import Queue
from leanformer.study.slurm_options import read_options
from leanformer.training.machine.hardware import threads_asked, visible_devices

EXECUTORS = ("local", "slurm", "ray")
PARALLEL = 64
"""Array tasks at a time unless --parallel says otherwise."""
T = TypeVar("T")


@dataclass(frozen=True)
class Shard:
    """Every `of`-th job from the `number`-th on, for one of several commands that share a directory."""

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """ "2/5" is the second of five. ValueError for anything else."""
        found = re.fullmatch(r"\s*(\d+)\s*/\s*(\d+)\s*", text)
        if not found or not 1 <= int(found[1]) <= int(found[2]):
            raise ValueError(f"--shard {text}: write I/N, the I-th of N, as 1/4")
        return cls(int(found[1]), int(found[2]))

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    def part(self, jobs: Sequence[T]) -> list[T]:
        """Returns this shard's part. `jobs` are all that the study has, finished or not: then the parts are disjoint,
        whenever their commands start."""
        return list(jobs[self.number - 1 :: self.of])


WHOLE = Shard(1, 1)


@dataclass(frozen=True, kw_only=True)
class Execution:
    """What the user asked; ValueError for what does not go together."""

    executor: str = "local"
    jobs: int | None = None
    parallel: int | None = None
    slurm: Mapping[str, Any] = field(default_factory=dict)
    shard: Shard = WHOLE

    @classmethod
    def of(
        cls,
        executor: str = "local",
        jobs: int | None = None,
        parallel: int | None = None,
        slurm: Sequence[str] = (),
        shard: str | None = None,
    ) -> Self:
        """Reads the options as a user writes them."""
        options = read_options(slurm)
        part = WHOLE if shard is None else Shard.parse(shard)
        return cls(executor=executor, jobs=jobs, parallel=parallel, slurm=options, shard=part)

    def __post_init__(self) -> None:
        if self.executor not in EXECUTORS:
            raise ValueError(f"--executor {self.executor}: {suggest(self.executor, EXECUTORS)}")
        for name, value in (("jobs", self.jobs), ("parallel", self.parallel)):
            if value is not None and value < 1:
                raise ValueError(f"--{name} must be at least 1")
        if self.slurm and self.executor != "slurm":
            raise ValueError(f"--slurm is for --executor slurm, not {self.executor}: leave it out")
        if self.parallel is not None and self.executor == "local":
            raise ValueError("--parallel is for --executor slurm or ray; on this machine it is --jobs")
        if self.shard != WHOLE and self.executor != "local":
            raise ValueError(f"--shard and --executor {self.executor} both divide the runs: leave one of them out")

    @property
    def local(self) -> bool:
        return self.executor == "local"

    def share(self, runs: int, threads: int | None) -> tuple[int, int]:
        """Returns the runs at a time, of so many, and the threads of each.

        On this machine there is by default a run per GPU, or per core: small models use two single-threaded processes
        better than one with two threads. Threads are `threads` (`training.threads`), or OMP_NUM_THREADS; by default
        the cores divided among the runs, on a cluster Slurm's cpus_per_task, or one.
        """
        if self.local:
            workers = self.jobs or len(visible_devices()) or max(1, min(cores(), runs))
            return workers, threads or threads_asked() or max(1, cores() // workers)
        given = int(self.slurm.get("cpus_per_task", 0)) // (self.jobs or 1)
        at_a_time = (self.parallel or PARALLEL) * (self.jobs or 1 if self.executor == "slurm" else 1)
        return min(at_a_time, max(1, runs)), threads or given or threads_asked() or 1

    def make(self, study: Path, workers: int, threads: int) -> Executor:
        """Returns the executor for the study in this directory, with the shares of each run."""
        if self.executor == "slurm":
            from leanformer.study.slurm import SlurmArray

            return SlurmArray(study, self._slurm(threads), self.parallel or PARALLEL, self.jobs or 0)
        if self.executor == "ray":
            from leanformer.study.ray import RayTasks

            return RayTasks(self.parallel or 0, threads, self.jobs or 1)
        return LocalProcesses(workers, visible_devices())

    def preview(self, study: Path, jobs: int, threads: int) -> str:
        """Returns what would be submitted for so many jobs; "" for what is no batch system."""
        if self.executor != "slurm" or not jobs:
            return ""
        from leanformer.study.slurm_options import batch_file

        return batch_file(Queue(study).folder, self._slurm(threads), self.parallel or PARALLEL, jobs)

    def require_no_queue(self, study: Path) -> None:
        """ValueError if Slurm's queue holds jobs of the study, which another executor would start again."""
        if self.executor != "slurm" and (places := Queue(study).places()):
            tasks = sorted({place.task.partition("_")[0] for place in places.values()})
            raise ValueError(
                f"{study} has {len(places)} jobs in Slurm's queue: go on with --executor slurm, or end them with "
                f"scancel {' '.join(tasks)}"
            )

    def _slurm(self, threads: int) -> dict[str, Any]:
        return {"cpus_per_task": threads * (self.jobs or 1), **self.slurm}
