"""`leanformer.distill`: trains a student with a teacher."""

from pathlib import Path
from typing import Any

from leanformer.distillation.distill import distill as teach
from leanformer.interface.data import Data, directory_of
from leanformer.interface.resuming import Resume, resumes
from leanformer.interface.run import Run
from leanformer.interface.settings import Given, request
from leanformer.records.run import RECORD
from leanformer.settings import Settings

TABLES = ("model", "training", "distillation")


def distill(
    student: Any = None,
    *,
    teacher: Any,
    data: Data | str | Path,
    out: str | Path,
    settings: Given = None,
    plugin: str | Path | None = None,
    resume: Resume = False,
    quiet: bool = False,
    **keywords: Any,
) -> Run:
    """Train `student` with `teacher` on `data` in the run directory `out`; returns the run.

    student     a run or a saved model; None for a new model, which the settings describe
    teacher     a run or a saved model
    settings, keywords, resume      as for `pretrain`; the keywords also name settings of [distillation]:
                method="minilm2", temperature=2.0
    """
    out = Path(out)
    goes_on = resumes(resume, out / RECORD)
    chosen: Settings | None = None
    if keywords or settings is not None or not goes_on:
        chosen = request(keywords, TABLES, settings=settings).settings
    how: dict[str, Any] = {"resume": goes_on, "quiet": quiet, "plugin": plugin}
    place = None if student is None else Path(student)
    teach(chosen, directory_of(data), out, teacher=Path(teacher), student=place, **how)
    return Run(out)
