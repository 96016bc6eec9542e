"""A look into attention."""

from pathlib import Path
from typing import Annotated

import typer

from leanformer_cli.application import app
from leanformer_cli.options import Plugin, Quiet, load


@app.command()
def attention(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A pre-training run or a saved model.")],
    other: Annotated[Path | None, typer.Argument(metavar="[RUN2]", help="Another, shown beside it.")] = None,
    *,
    text: Annotated[str, typer.Option(help="The sentence to read.")],
    out: Annotated[Path, typer.Option("--out", metavar="PAGE.html", help="The page to make.")],
    plugin: Plugin = None,
    quiet: Quiet = False,
) -> None:
    """Draw every head's attention on a sentence, of one model or of two side by side, as a page for a browser."""
    from leanformer.evaluation.probes.attention_page import attention_page

    load(plugin)
    attention_page([run] if other is None else [run, other], text, out)
    if not quiet:
        print(out)
