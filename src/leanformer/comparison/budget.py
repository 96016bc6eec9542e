"""The settings of a comparison's runs for a budget of time or tokens each, on this machine."""

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from leanformer.comparison.continuing import earlier
from leanformer.data.corpus import Corpus
from leanformer.settings import Settings
from leanformer.training.budget import as_recorded, plan


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
