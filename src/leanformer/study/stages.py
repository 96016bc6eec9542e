"""A study in stages: the jobs of a stage need what earlier stages made, and nothing of each other.

What is finished is skipped, what was begun goes on, and a job that fails costs what needs it and nothing else.
"""

from collections.abc import Callable, Mapping, Sequence

from rich.console import Console

from leanformer.study.executor import Executor
from leanformer.study.job import Job
from leanformer.study.running import run_jobs


def run_stages(
    stages: Mapping[str, Callable[[], Sequence[Job]]],
    executor: Callable[[str], Executor],
    console: Console,
    *,
    ended: Callable[[Job, str | None, float], None] = lambda job, why, seconds: None,
    after: Callable[[str, list[str]], None],
) -> list[str]:
    """Run what is left of every stage; the names of the jobs that failed, or could not start.

    A stage's jobs are asked for when the stages before it are over. `after(stage, missing)` is called after each that
    had something left, and after the last one: what is there by then can be read.
    """
    missing = list[str]()
    for name, jobs in stages.items():
        left = [job for job in jobs() if not job.finished]
        ready = [job for job in left if job.ready]
        missing += [job.name for job in left if job not in ready]
        missing += [job.name for job in run_jobs(ready, executor(name), console, title=name, ended=ended)]
        if left or name == list(stages)[-1]:
            after(name, missing)
    return missing
