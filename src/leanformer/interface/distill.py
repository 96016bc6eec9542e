"""`leanformer.distill`: trains a student with a teacher."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from leanformer.data.corpus import RECORD as PREPARED
from leanformer.distillation.batch_size import default_batch_size
from leanformer.distillation.distill import distill as teach
from leanformer.distillation.vectors.run import DEFAULTS, METHOD, distill_vectors
from leanformer.evaluation.similarity import read_pairs
from leanformer.interface import lists
from leanformer.interface.data import Data, directory_of
from leanformer.interface.resuming import Resume, resumes
from leanformer.interface.run import Run
from leanformer.interface.settings import Given, request
from leanformer.interface.texts import sources
from leanformer.records.run import RECORD
from leanformer.settings import Settings
from leanformer.training.run.record import RunDirectory

TABLES = ("model", "training", "distillation")


def distill(
    student: Any = None,
    *,
    teacher: Any,
    data: Any,
    out: str | Path,
    text: str = "text",
    pairs: str | Path | None = None,
    pair_columns: str | Sequence[str] = (),
    settings: Given = None,
    plugin: str | Path | None = None,
    resume: Resume = False,
    quiet: bool = False,
    **keywords: Any,
) -> Run:
    """Train `student` with `teacher` on `data` in the run directory `out`; returns the run.

    student     a run or a saved model; None for a new model, which the settings describe
    teacher     a run or a saved model
    data        prepared data, of whose tokens the student learns logits or relations; or texts, as for `embed`, of
                which it learns the teacher's vectors. `text` is the column that holds the text
    pairs       with texts: a table of pairs, on which the student is measured during training. `pair_columns` names
                two texts and, if there is one, their score
    settings, keywords, resume      as for `pretrain`; the keywords also name settings of [distillation]:
                method="minilm2", temperature=2.0. Without a batch_size, that of prepared data
                follows from the budget (`distillation/batch_size.py`)
    """
    out = Path(out)
    goes_on, whole = resumes(resume, out / RECORD), _prepared(data)
    chosen: Settings | None = None
    if keywords or settings is not None or not goes_on:
        asked = request(keywords, TABLES, settings=settings, defaults=None if whole else DEFAULTS)
        chosen = asked.settings
        if whole and not {"training.batch_size", "training.first_batch_size"} & asked.keep:
            training = chosen.training.updated({"batch_size": default_batch_size(chosen.training)})
            chosen = replace(chosen, training=training)
    if (method := _method(chosen, out)) is not None:
        _require_method(method, data, prepared=whole)
    place = None if student is None else Path(student)
    how: dict[str, Any] = {"teacher": Path(teacher), "student": place, "resume": goes_on, "quiet": quiet}
    if whole:
        if pairs is not None:
            raise ValueError("--pairs measures vectors of texts, and --data is prepared: give the texts themselves")
        teach(chosen, directory_of(data), out, plugin=plugin, **how)
        return Run(out)
    held = None if pairs is None else read_pairs(pairs, lists.names(pair_columns))
    distill_vectors(chosen, sources(data, "data"), out, column=text, pairs=held, plugin=plugin, **how)
    return Run(out)


def _prepared(data: Any) -> bool:
    return isinstance(data, Data) or (isinstance(data, str | Path) and os.path.isfile(os.path.join(data, PREPARED)))


def _method(chosen: Settings | None, out: Path) -> str | None:
    """Returns the method of the settings, else that of the run in `out`; None for a run without one."""
    if chosen is not None:
        return chosen.distillation.method
    recorded = RunDirectory(out).read()["settings"].get("distillation") or {}
    return recorded.get("method")


def _require_method(method: str, data: Any, *, prepared: bool) -> None:
    if prepared and method == METHOD:
        raise ValueError(f"distillation.method = {METHOD!r} learns from texts, and {data} is prepared: give the texts")
    if not prepared and method != METHOD:
        raise ValueError(
            f"distillation.method = {method!r} learns from prepared data, and {data} is text: leanformer prepare "
            f"{data} --out DATA, or leave the method out, to learn the teacher's vectors"
        )
