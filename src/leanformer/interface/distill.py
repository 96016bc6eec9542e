"""`leanformer.distill`: trains a student with a teacher."""

from pathlib import Path
from typing import Any

from leanformer.distillation.distill import distill as teach
from leanformer.interface.data import Data, directory_of
from leanformer.interface.resuming import Resume, resumes
from leanformer.interface.run import RECORD, Run
from leanformer.interface.settings import Given, planned, settings_of
from leanformer.settings import Settings
from leanformer.training.objectives.table import OBJECTIVES

TABLES = ("model", "training", "distillation")


def distill(
    student: Any = None,
    *,
    teacher: Any,
    data: Data | str | Path,
    out: str | Path,
    recipe: str | None = None,
    minutes: float | None = None,
    hours: float | None = None,
    tokens: int | None = None,
    settings: Given = None,
    plugin: str | Path | None = None,
    resume: Resume = False,
    quiet: bool = False,
    **keywords: Any,
) -> Run:
    """Train `student` with `teacher` on `data` in the run directory `out`; returns the run.

    student     a run or a saved model; None for a new model, which the settings describe
    teacher     a run or a saved model
    recipe, minutes, hours, tokens, settings, keywords, resume      as for `pretrain`; the keywords also name settings
                of [distillation]: method="minilm2", temperature=2.0
    """
    out, path = Path(out), directory_of(data)
    going_on = resumes(resume, out / RECORD)
    chosen: Settings | None = None
    if keywords or any(each is not None for each in (recipe, minutes, hours, tokens, settings)) or not going_on:
        chosen = settings_of(settings, keywords, TABLES, recipe=recipe)
        opened = OBJECTIVES[chosen.training.objective].open(path)
        chosen = planned(chosen, opened, (minutes, hours, tokens), quiet=quiet)
    place = None if student is None else Path(student)
    teach(chosen, path, out, teacher=Path(teacher), student=place, resume=going_on, quiet=quiet, plugin=plugin)
    return Run(out)
