"""`leanformer.export`: writes a model that needs no leanformer."""

from pathlib import Path
from typing import Any

from leanformer.attention import load_plugin
from leanformer.exporting.export import export as export_model


def export(
    run: Any,
    *,
    out: str | Path,
    format: str = "hub",
    int8: bool = False,
    text: str | Path | None = None,
    license: str | None = None,
    plugin: str | Path | None = None,
) -> dict[str, Any]:
    """Write the model of `run` to the new directory `out`, and check that its outputs are equal without leanformer.

    Returns what was checked: the format, the path, and the largest `difference` of outputs or the loss of each graph.

    format      "hub", a folder for Hugging Face's hub, or "onnx"
    int8        onnx: also write a graph with 8-bit products, and measure its cost
    text        onnx: a text on which the masked-LM loss of each graph is measured
    license     the licence for the model card: mit, apache-2.0, cc-by-4.0, ...
    """
    load_plugin(plugin)
    text = None if text is None else Path(text)
    return export_model(Path(run), out, format, licence=license, int8=int8, text=text)
