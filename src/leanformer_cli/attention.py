"""A look into attention."""

from pathlib import Path
from typing import Annotated

import typer

from leanformer_cli.application import app
from leanformer_cli.options import Plugin, Quiet, load


@app.command()
def attention(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A pre-training run, a saved model, or a comparison.")],
    other: Annotated[Path | None, typer.Argument(metavar="[RUN2]", help="Another, shown beside it.")] = None,
    *,
    text: Annotated[
        str | None, typer.Option(help="The sentence to read; of a comparison, else one of the validation text.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="PAGE.html", help="The page to make; of a comparison, in its folder."),
    ] = None,
    plugin: Plugin = None,
    quiet: Quiet = False,
) -> None:
    """Draw every head's attention as a page.

    The attention of one or several models on a sentence, side by side, as a page for a browser.
    """
    from leanformer.evaluation.probes.attention_page import attention_page, comparison_page

    load(plugin)
    if other is None and (run / "comparison.json").is_file():
        out = comparison_page(run, text, out)
    elif text is None or out is None:
        raise ValueError(f"leanformer attention {run} needs --text and --out: only a comparison has a page of its own")
    else:
        attention_page([run] if other is None else [run, other], text, out)
    if not quiet:
        print(out)
