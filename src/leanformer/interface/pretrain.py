"""`leanformer.pretrain`: trains one model from prepared data."""

from pathlib import Path
from typing import Any

from leanformer.attention import load_plugin
from leanformer.interface.arms import arm
from leanformer.interface.data import Data, directory_of
from leanformer.interface.resuming import Resume, resumes
from leanformer.interface.run import Run
from leanformer.interface.settings import Given, Request, request
from leanformer.records.run import RECORD, Pretraining
from leanformer.settings import Settings
from leanformer.training import budget
from leanformer.training.pretrain import pretrain as train
from leanformer.training.run.extension import extended_to
from leanformer.training.run.record import RunDirectory

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
    recipe      the name of a recipe, such as "fast"; `settings` and keywords override it
    minutes, hours, tokens      the budget that the recipe is planned for; without it, give max_steps or max_tokens
    settings    a file of settings, or nested dictionaries such as {"training": {"batch_size": 64}}
    init        a run or a saved model to start from
    plugin      a file that registers mechanisms; it may be left out if it is loaded already
    resume      True goes on with the run in `out`, "auto" goes on if there is one; the run keeps its own settings
    extend      the new total number of steps of a finished run
    keywords    single settings of [model] and [training] by their names: hidden_size=128, learning_rate=1e-3, seed=2

    Raises ValueError for settings that do not fit, FileExistsError if `out` holds another run, and ArithmeticError if
    the loss is no longer finite.
    """
    out = Path(out)
    goes_on = resumes(resume, out / RECORD)
    if resume == "auto" and goes_on and extend is not None:
        goes_on = extended_to(out, extend)
        extend = None if goes_on else extend
    path = None if data is None else directory_of(data)
    given = (attention, recipe, minutes, hours, tokens, settings)
    chosen: Settings | None = None
    if keywords or any(each is not None for each in given) or not (goes_on or extend is not None):
        named, plugin = arm(attention, plugin)
        budgets: dict[str, Any] = {"minutes": minutes, "hours": hours, "tokens": tokens}
        asked = request(keywords, TABLES, settings=settings, recipe=recipe, arm=named, **budgets)
        if goes_on:
            chosen = _as_recorded(asked, out)
        elif asked.budget and extend is None and path is not None:
            RunDirectory(out).require_unused()
            found = plan(asked, path, init=init, plugin=plugin)
            if not quiet:
                print(f"plan: {found.sentence}")
            chosen = found.settings
        else:
            chosen = asked.settings
    start = None if init is None else Path(init)
    train(chosen, path, out, init=start, resume=goes_on, extend=extend, quiet=quiet, plugin=plugin)
    return Run(out)


def plan(asked: Request, data: Path, *, init: Any = None, plugin: str | Path | None = None) -> budget.Plan:
    """Returns the plan of a new run, after a few steps that are timed."""
    if init is not None:
        raise ValueError(f"--init {init} has a size of its own, without a plan: give training.max_tokens instead")
    load_plugin(plugin)
    return budget.plan(asked.settings, data, **asked.budget, keep=asked.keep)


def _as_recorded(asked: Request, out: Path) -> Settings:
    """Returns the settings of a run that goes on: those of its own plan, if a budget is given again."""
    if not asked.budget:
        return asked.settings
    return budget.as_recorded(RunDirectory(out).read(Pretraining)["settings"], asked.settings, asked.keep)
