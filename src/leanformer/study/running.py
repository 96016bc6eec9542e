"""Jobs are run, and their user sees how far they are; a signal stops them all and lets them save their work."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from leanformer.progress import bars, is_live
from leanformer.study.executor import Executor, JobFailed
from leanformer.study.job import Job
from leanformer.study.outlook import Outlook
from leanformer.training.machine.timing import duration
from leanformer.training.run.interrupts import Interrupts

TICK = 0.25
"""Seconds between two looks at the jobs."""


def run_jobs(
    jobs: Sequence[Job],
    executor: Executor,
    console: Console,
    *,
    title: str = "",
    ended: Callable[[Job, str | None, float], None] = lambda job, why, seconds: None,
    outlook: Outlook | None = None,
) -> dict[Job, str]:
    """Run all jobs; return those that failed, with the reason.

    A terminal shows bars, and every console a line per job that ended, which begins with `title`, both with the
    remaining time of the whole study if there is an `outlook`, which has taken up the jobs. Then
    `ended(job, why, seconds)` is called: `why` is None for a success, and the seconds count from when the job was first
    seen running. After a signal the exit status is 128 + signal.
    """
    if not jobs:
        return {}
    failed, began = dict[Job, str](), dict[Job, float]()
    with Interrupts() as interrupts, _bars(console) as progress, executor:
        bar = progress.add_task("runs", total=len(jobs))
        now = time.perf_counter()
        left: dict[Future[None], Job] = {executor.submit(job): job for job in jobs}
        while left:
            began |= {job: now for future, job in left.items() if future.running() and job not in began}
            done, _ = wait(left, TICK, FIRST_COMPLETED)
            now = time.perf_counter()
            for future in [future for future in left if future in done]:
                job = left.pop(future)
                why = _failure(future)
                if why is not None:
                    failed[job] = why
                outcome = "finished" if why is None else f"failed: {why}"
                if outlook is not None:
                    outlook.ended(job)
                place = f"{title} [{len(jobs) - len(left)}/{len(jobs)}]".lstrip()
                console.print(f"{place} {job.name} {outcome}{_left(outlook)}", markup=False, soft_wrap=True)
                ended(job, why, now - began.get(job, now))
            running = [job for future, job in left.items() if future.running()]
            completed = len(jobs) - len(left) + sum(job.fraction() for job in running)
            named = ", ".join(job.name for job in running) or "runs"
            progress.update(bar, completed=completed, description=named + _left(outlook))
            if interrupts.signal:
                raise SystemExit(128 + interrupts.signal)
    return failed


def _left(outlook: Outlook | None) -> str:
    """The remaining time in words; "" when nothing is left to do."""
    seconds = 0.0 if outlook is None else outlook.left()
    return f"; about {duration(seconds)} left" if seconds >= 1 else ""


def _failure(future: "Future[None]") -> str | None:
    """Why the job failed; an error of another kind, such as a full disk, is raised: it would end the others, too."""
    error = future.exception()
    if error is None:
        return None
    if not isinstance(error, JobFailed):
        raise error
    return str(error)


def _bars(console: Console) -> Progress:
    columns = (BarColumn(), TextColumn("{task.percentage:3.0f} %"), TimeElapsedColumn())
    return bars(TextColumn("{task.description}"), *columns, on=console, quiet=not is_live(console))
