"""The verb that trains a model with a teacher."""

from pathlib import Path
from typing import Annotated

import typer

from leanformer_cli.application import app
from leanformer_cli.options import (
    AsJson,
    AutoResume,
    ConfigOption,
    Data,
    Plugin,
    Quiet,
    Resume,
    RunOut,
    Set,
    model_there,
    show,
    tables_of,
)


@app.command()
def distill(
    student: Annotated[
        Path, typer.Argument(metavar="STUDENT", help="A run, a saved model, or settings (.toml) of a new student.")
    ],
    *,
    teacher: Annotated[
        Path, typer.Option("--teacher", metavar="TEACHER", callback=model_there, help="A run or a saved model.")
    ],
    data: Data,
    out: RunOut,
    config: ConfigOption = None,
    set_: Set = None,
    plugin: Plugin = None,
    resume: Resume = False,
    autoresume: AutoResume = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Train a student model with a teacher.

    Distillation recovers the quality of a converted model, or trains a smaller model (docs/distillation.md).
    """
    from leanformer import distill

    saved = student.is_dir()
    if not saved and config is not None:
        raise ValueError(f"--config {config}: {student} holds the settings already; change them with --set")
    run = distill(
        student if saved else None,
        teacher=teacher,
        data=data,
        out=out,
        settings=tables_of(config if saved else student, set_),
        plugin=plugin,
        resume="auto" if autoresume else resume,
        quiet=quiet or as_json,
    )
    show(run.record, as_json, quiet=True)
