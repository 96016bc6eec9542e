"""The part of the machine that each run of a comparison gets, and the tokens that it reads there in a given time."""

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from leanformer.comparison.continuing import earlier
from leanformer.data.corpus import Corpus
from leanformer.settings import Settings
from leanformer.training.budget import as_recorded, plan
from leanformer.training.machine.hardware import cores, threads_asked, visible_devices


def share_of_the_machine(jobs: int | None, runs: int, settings: Settings) -> tuple[int, int]:
    """Returns the runs at a time and the threads of each.

    Without `jobs` there is a run per GPU, or per core: small models use two single-threaded processes better than one
    with two threads. Threads are `training.threads`, or OMP_NUM_THREADS, or the cores divided among the runs.
    """
    if jobs is not None and jobs < 1:
        raise ValueError("--jobs must be at least 1")
    workers = jobs or len(visible_devices()) or min(cores(), runs)
    return workers, settings.training.threads or threads_asked() or max(1, cores() // workers)


def planned(
    settings: Settings,
    corpus: Corpus,
    out: Path,
    *,
    seconds: float | None,
    tokens: int | None,
    keep: Collection[str],
    threads: int,
) -> tuple[Settings, str]:
    """Returns the settings for a budget of each run, and the plan in words.

    A `dot_product` model is timed alone, with the threads of a run, and all arms read as many tokens. The comparison in
    `out`, if there is one, keeps the settings that were planned when it began, without words.
    """
    before = earlier(out)
    if before is not None:
        return as_recorded(before["settings"], settings, keep), ""
    training = replace(settings.training, threads=threads)
    found = plan(replace(settings, training=training), corpus, seconds=seconds, tokens=tokens, keep=keep)
    training = replace(found.settings.training, threads=settings.training.threads)
    return replace(found.settings, training=training), f"each run: {found.sentence}"
