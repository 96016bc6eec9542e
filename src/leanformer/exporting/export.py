"""A model for other machines and tools: the function behind `leanformer export`."""

from pathlib import Path
from typing import Any

from leanformer import files
from leanformer.exporting import graph, hub, onnx_files
from leanformer.exporting import int8 as int8_graph
from leanformer.exporting.source import open_source
from leanformer.spelling import suggest

FORMATS = ("hub", "onnx")


def export(
    run: str | Path,
    target: str | Path,
    format: str = "hub",
    *,
    licence: str | None = None,
    int8: bool = False,
    text: str | Path | None = None,
) -> dict[str, Any]:
    """Write the model of `run` to the new folder `target`, checked and whole or not at all; what was checked.

    `licence` is the model's, for its card, in the hub's words (mit, apache-2.0, cc-by-4.0, ...). Of onnx only: `int8`
    adds a graph of 8-bit products, `text` is a file on which a masked language model's loss is measured.

    ValueError for an unknown format, for what cannot be exported and for an export that does not answer as the model
    does, FileExistsError for a folder that is not empty.
    """
    run, target = Path(run), Path(target)
    if format not in FORMATS:
        raise ValueError(f"unknown format {format!r}: {suggest(format, FORMATS)}")
    if format == "hub" and (int8 or text is not None):
        raise ValueError(f"{'--int8' if int8 else '--text'} is for --format onnx")
    if not files.is_free(target):
        raise FileExistsError(f"{target} exists already: name a new directory")
    if format == "onnx":
        graph.require_packages()
    source = open_source(run)
    corpus = None if text is None else int8_graph.text_to_measure(source, Path(text))
    with files.new_directory(target, replace=False) as folder:
        if format == "onnx":
            report = onnx_files.write(source, folder, target.name, licence, int8, corpus)
        else:
            hub.write(source, folder, target.name, licence)
            report = {"format": "hub", "difference": hub.verify(source, folder)}
        files.write_sums(folder)
    return report | {"path": str(target)}
