"""Futures of jobs that run on other machines: when one begins, by its log, and how it ends."""

from concurrent.futures import Future

from leanformer.study.executor import JobFailed
from leanformer.study.job import Job


class Starting:
    """Jobs that were submitted and have not begun: a job writes its name into its log first (`local.py`)."""

    def __init__(self) -> None:
        self._sizes = dict[Future[None], tuple[Job, int]]()

    def expect(self, job: Job, future: "Future[None]") -> None:
        self._sizes[future] = job, _size(job)

    def look(self) -> None:
        """Make the futures of jobs that have begun `running()`."""
        for future, (job, before) in list(self._sizes.items()):
            if future.done():
                del self._sizes[future]
            elif _size(job) > before:
                del self._sizes[future]
                future.set_running_or_notify_cancel()


def end(future: "Future[None]", why: str | None) -> None:
    """Set the outcome: None, or the reason of a failure."""
    if why is None:
        future.set_result(None)
    else:
        future.set_exception(JobFailed(why))


def unless_finished(job: Job, why: str) -> str | None:
    """Why a job failed whose allocation ended as a whole: it did not, if it had finished before."""
    return None if job.finished else why


def _size(job: Job) -> int:
    try:
        return job.log.stat().st_size
    except OSError:
        return 0
