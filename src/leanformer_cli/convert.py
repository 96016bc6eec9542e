"""From and to other projects' models."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from leanformer_cli.application import app
from leanformer_cli.options import Quiet


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="A saved Hugging Face BERT, or a leanformer model.")],
    target: Annotated[Path, typer.Argument(metavar="DST", help="The directory to make.")],
    attention: Annotated[str, typer.Option(help="The mechanism to convert a BERT to.")] = "dot_product",
    to: Annotated[str, typer.Option(help="bert: from leanformer back to Hugging Face's BERT.")] = "leanformer",
    quiet: Quiet = False,
) -> None:
    """Convert a Hugging Face BERT to leanformer, or back, with equal outputs."""
    from leanformer.models.convert import convert

    for note in convert(source, target, attention=attention, to=to):
        print(note, file=sys.stderr)
    if not quiet:
        print(target)
