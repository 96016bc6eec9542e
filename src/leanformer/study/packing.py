"""Which jobs share an allocation: short ones that would wait for each other. Starting one costs some ten seconds."""

from collections.abc import Sequence

from leanformer.study.job import Job

SHORT = 600.0
"""Seconds of jobs that are packed into one allocation."""


def packed(jobs: Sequence[Job], parallel: int, workers: int) -> list[list[Job]]:
    """Returns the jobs of each allocation, in order. Where there are more jobs than may run at a time, an allocation
    takes several, as long as these take no more than `SHORT` seconds; one of unknown duration has its own."""
    most = max(workers, 1, -(-len(jobs) // parallel))
    packs = list[list[Job]]()
    for job in jobs:
        last = packs[-1] if packs else []
        seconds = sum(each.seconds for each in [*last, job]) / max(workers, 1)
        if last and len(last) < most and (len(last) < workers or job.seconds) and seconds <= SHORT:
            last.append(job)
        else:
            packs.append([job])
    return packs
