"""Training by a teacher."""

import json
from pathlib import Path
from typing import Annotated

import typer

from leanformer_cli.application import app
from leanformer_cli.options import AsJson, Data, Plugin, Quiet, Resume, RunOut, Set


@app.command()
def distill(
    student: Annotated[
        Path, typer.Argument(metavar="STUDENT", help="A run, a saved model, or settings (.toml) of a fresh student.")
    ],
    *,
    teacher: Annotated[Path, typer.Option("--teacher", metavar="TEACHER", help="A run or a saved model.")],
    data: Data,
    out: RunOut,
    config: Annotated[Path | None, typer.Option(metavar="CONFIG.toml", help="Settings for a saved student.")] = None,
    set_: Set = None,
    plugin: Plugin = None,
    resume: Resume = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Train a student by a teacher: heal a converted model, or make a smaller one (docs/distillation.md)."""
    from leanformer.distillation.distill import distill
    from leanformer.settings import read_settings

    saved = student.is_dir()
    if not saved and config is not None:
        raise ValueError(f"--config {config}: {student} holds the settings already; change them with --set")
    file = config if saved else student
    given = file is not None or set_ or not resume
    settings = read_settings(file, set_ or ()) if given else None  # resumed without any, a run keeps its own
    record = distill(
        settings,
        data,
        out,
        teacher=teacher,
        student=student if saved else None,
        resume=resume,
        quiet=quiet or as_json,
        plugin=plugin,
    )
    if as_json:
        print(json.dumps(record, indent=2))
