"""Training by a teacher."""

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
    settings_of,
    show,
)


@app.command()
def distill(
    student: Annotated[
        Path, typer.Argument(metavar="STUDENT", help="A run, a saved model, or settings (.toml) of a fresh student.")
    ],
    *,
    teacher: Annotated[Path, typer.Option("--teacher", metavar="TEACHER", help="A run or a saved model.")],
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
    """Train a student model by a teacher.

    A converted model recovers, or a smaller one is made (docs/distillation.md).
    """
    from leanformer.distillation.distill import distill

    resume = resume or (autoresume and (out / "run.json").exists())
    saved = student.is_dir()
    if not saved and config is not None:
        raise ValueError(f"--config {config}: {student} holds the settings already; change them with --set")
    record = distill(
        settings_of(config if saved else student, set_, resume),
        data,
        out,
        teacher=teacher,
        student=student if saved else None,
        resume=resume,
        quiet=quiet or as_json,
        plugin=plugin,
    )
    show(record, as_json, quiet=True)
