"""The verb that trains a model with a teacher."""

from pathlib import Path
from typing import Annotated

import typer

from leanformer_cli.application import app
from leanformer_cli.options import (
    AsJson,
    AutoResume,
    ConfigOption,
    Plugin,
    Quiet,
    Resume,
    RunOut,
    Set,
    model_there,
    show,
    tables_of,
    words,
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
    data: Annotated[
        str,
        typer.Option(
            "--data",
            metavar="DATA",
            help="A directory made by `leanformer prepare`; or texts (a file with one per line, a table, hf:NAME), of "
            "which the teacher's vectors are learned.",
        ),
    ],
    out: RunOut,
    text: Annotated[str, typer.Option(metavar="COLUMN", help="Column of the texts in tables.")] = "text",
    pairs: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="With texts: pairs on which the student is measured during training."),
    ] = None,
    pair_columns: Annotated[
        str | None, typer.Option(metavar="A,B[,SCORE]", help="The pairs' columns; default: found by their names.")
    ] = None,
    config: ConfigOption = None,
    set_: Set = None,
    plugin: Plugin = None,
    resume: Resume = False,
    autoresume: AutoResume = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Train a student model with a teacher.

    Distillation recovers the quality of a converted model, or trains a smaller model (docs/distillation.md). With a
    directory of prepared data the student learns logits or token relations, with texts it learns their vectors.
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
        text=text,
        pairs=pairs,
        pair_columns=words(pair_columns or ""),
        settings=tables_of(config if saved else student, set_),
        plugin=plugin,
        resume="auto" if autoresume else resume,
        quiet=quiet or as_json,
    )
    show(run.record, as_json, quiet=True)
