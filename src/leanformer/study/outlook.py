"""The remaining time of a study, by the estimate that was made before it and corrected by how fast it is.

With w the estimated seconds of a job, f the part of it that is done, and n jobs at a time,

    done  = sum w f since the study began
    pace  = (elapsed + P) / (done / n + P)                    1 at the beginning; P = 60 seconds
    left  = pace max(sum w (1 - f) / n, the longest w (1 - f))

The sum is over all jobs of the study, also those of its later stages.
"""

import time
from collections.abc import Callable, Mapping

from leanformer.study.job import Job

PRIOR = 60.0
"""P: seconds for which the estimate counts as much as what has been seen."""


class Outlook:
    def __init__(self, work: float, workers: int, clock: Callable[[], float] = time.monotonic) -> None:
        """`work` is the sum of the w of all jobs, in seconds of one job at a time."""
        self._work, self._workers, self._clock = work, workers, clock
        self._began, self._done = clock(), 0.0
        self._jobs = dict[Job, tuple[float, float]]()
        """(w, f when the job was taken up) of the jobs that are not finished."""

    def take_up(self, seconds: Mapping[Job, float]) -> None:
        """Note the jobs of the next stage; what is done of them already was no work of this study."""
        for job, estimated in seconds.items():
            self._jobs[job] = estimated, job.fraction()
            self._work -= estimated * self._jobs[job][1]

    def ended(self, job: Job) -> None:
        if job in self._jobs:
            estimated, before = self._jobs.pop(job)
            self._done += estimated * (1 - before)

    def left(self) -> float:
        """Returns the remaining seconds."""
        done, longest = self._done, 0.0
        for job, (estimated, before) in self._jobs.items():
            fraction = max(before, job.fraction())
            done += estimated * (fraction - before)
            longest = max(longest, estimated * (1 - fraction))
        pace = (self._clock() - self._began + PRIOR) / (done / self._workers + PRIOR)
        return pace * max((self._work - done) / self._workers, longest)
