"""The verb that exports a model to other tools."""

from pathlib import Path
from typing import Annotated, Any

import typer

from leanformer_cli.application import app
from leanformer_cli.options import AsJson, Plugin, Quiet, int8_cost, model_there, show


@app.command()
def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", callback=model_there, help="A finished run or a saved model.")],
    target: Annotated[Path, typer.Argument(metavar="DST", help="The directory to create.")],
    format: Annotated[str, typer.Option(help="hub (for Hugging Face, without leanformer) or onnx.")] = "hub",
    int8: Annotated[
        bool, typer.Option("--int8", help="onnx: also write a graph with 8-bit products, and measure its cost.")
    ] = False,
    text: Annotated[
        Path | None, typer.Option(metavar="FILE", help="onnx: measure the masked-LM loss of each graph on this text.")
    ] = None,
    license: Annotated[
        str | None, typer.Option(metavar="ID", help="License for the model card: mit, apache-2.0, cc-by-4.0, ...")
    ] = None,
    plugin: Plugin = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Export a model that needs no leanformer.

    Checks that the exported model gives equal outputs without leanformer.
    """
    from leanformer import export

    options: dict[str, Any] = {"format": format, "int8": int8, "text": text, "license": license, "plugin": plugin}
    report = export(run, out=target, **options)
    show(report if as_json or "int8" not in report else report | {"int8": _cost(report)}, as_json, quiet)


def _cost(report: dict[str, Any]) -> str:
    """Returns what int8 costs in one line: the difference of outputs and, of a text, the loss of both graphs."""
    line, losses = int8_cost(report["int8"]), report.get("text", {}).get("loss")
    if losses:
        line += f"; loss {losses['model_int8.onnx']:.4f} nats, {losses['model.onnx']:.4f} in float32"
    return line
