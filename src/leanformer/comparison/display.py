"""How far the runs of a comparison are, as its user sees it."""

from collections.abc import Callable, Mapping

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from leanformer.comparison.runner import Job, run_jobs


def run_shown(jobs: list[Job], workers: int, console: Console, after_each: Callable[[], None]) -> dict[Job, str]:
    """Run the jobs and show how far they are: bars on a terminal, one line per finished run elsewhere. Returns those
    that failed, with the reason. `after_each` is called when a job has ended."""
    if not jobs:
        return {}
    with Progress(
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:3.0f} %"), TimeElapsedColumn(),
        console=console, disable=not console.is_terminal,
    ) as progress:  # fmt: skip
        return run_jobs(jobs, workers, _shower(jobs, progress, console, after_each))


def _shower(
    jobs: list[Job], progress: Progress, console: Console, after_each: Callable[[], None]
) -> Callable[[dict, list[Job], dict[Job, str]], None]:
    bar = progress.add_task("runs", total=len(jobs))
    told: set[Job] = set()

    def show(running: dict, done: list[Job], failed: Mapping[Job, str]) -> None:
        names = ", ".join(job.name for job in running)
        completed = len(done) + len(failed) + sum(job.fraction() for job in running)
        progress.update(bar, completed=completed, description=names or "runs")
        for job in [*done, *failed]:
            if job not in told:
                told.add(job)
                outcome = f"failed: {failed[job]}" if job in failed else "finished"
                console.print(f"[{len(told)}/{len(jobs)}] {job.name} {outcome}", markup=False)
                after_each()

    return show
