"""`leanformer.pretrain`: trains one model from prepared data."""

from pathlib import Path
from typing import Any

from leanformer.interface.arms import arm
from leanformer.interface.data import Data, directory_of
from leanformer.interface.resuming import Resume, resumes
from leanformer.interface.run import RECORD, Run
from leanformer.interface.settings import Given, planned, settings_of
from leanformer.settings import Settings
from leanformer.training.objectives.table import OBJECTIVES
from leanformer.training.pretrain import pretrain as train
from leanformer.training.run.extension import extended_to

TABLES = ("model", "training")


def pretrain(
    data: Data | str | Path | None = None,
    *,
    out: str | Path,
    attention: str | None = None,
    recipe: str | None = None,
    minutes: float | None = None,
    hours: float | None = None,
    tokens: int | None = None,
    settings: Given = None,
    init: Any = None,
    plugin: str | Path | None = None,
    resume: Resume = False,
    extend: int | None = None,
    quiet: bool = False,
    **keywords: Any,
) -> Run:
    """Train a model on `data` in the run directory `out`; returns the run.

    data        what `prepare` returned, or the path of such a directory; on `resume` it may be left out
    attention   a mechanism, with its options in brackets: "pairwise[coefficients_init=identity]"
    recipe      the name of a recipe, such as "fast"; see `settings` for what overrides what
    minutes, hours, tokens      the budget that the settings are planned for; or give max_steps or max_tokens
    settings    a file of settings, or nested dictionaries such as {"training": {"batch_size": 64}}
    init        a run or a saved model to start from
    resume      True goes on with the run in `out`, "auto" goes on if there is one; the run keeps its own settings
    extend      the new total number of steps of a finished run
    keywords    single settings of [model] and [training] by their names: hidden_size=128, learning_rate=1e-3, seed=2

    Raises ValueError for settings that do not fit, FileExistsError if `out` holds another run, and ArithmeticError if
    the loss is no longer finite.
    """
    out = Path(out)
    going_on = resumes(resume, out / RECORD)
    if resume == "auto" and going_on and extend is not None:
        going_on = extended_to(out, extend)
        extend = None if going_on else extend
    given = attention, recipe, minutes, hours, tokens, settings, *keywords
    path = None if data is None else directory_of(data)
    chosen: Settings | None = None
    if any(each is not None for each in given) or not (going_on or extend is not None):
        named, plugin = arm(attention, plugin)
        chosen = settings_of(settings, keywords, TABLES, recipe=recipe, arm=named)
        if path is not None:
            opened = OBJECTIVES[chosen.training.objective].open(path)
            chosen = planned(chosen, opened, (minutes, hours, tokens), quiet=quiet)
    init = None if init is None else Path(init)
    train(chosen, path, out, init=init, resume=going_on, extend=extend, quiet=quiet, plugin=plugin)
    return Run(out)
