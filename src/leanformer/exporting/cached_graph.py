"""ONNX graphs of a saved model, kept beside it, from which `embed` and `predict` compute.

    MODEL/onnx/encoder/     the encoder without its head and pooler: states of all tokens
    MODEL/onnx/whole/       the model as it was saved: logits
        graph.onnx          in float32; beyond 1.9 GB the weights are in graph.onnx.data
        graph_int8.onnx     with 8-bit products, once they are asked for
        graph.json          of which weights and settings the graphs are, and what int8 costs

A graph is made once, checked against the model on random tokens and on text (`graph_check`), and made again when the
model's weights or its config.json have changed.
"""

from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from leanformer import files
from leanformer.evaluation import pretrained
from leanformer.exporting import graph, int8
from leanformer.exporting.graph_check import Session, verify
from leanformer.exporting.source import Source, open_source
from leanformer.models import LeanformerForMultipleChoice, saved
from leanformer.records import reading
from leanformer.records.models import CachedGraph

Part = Literal["encoder", "whole"]
FOLDER, WHOLE, SMALL, RECORD = "onnx", "graph.onnx", "graph_int8.onnx", "graph.json"
REMOVE = "remove it, and it is made again"


def open_graph(run: Path, part: Part, *, small: bool = False) -> tuple[Session, dict[str, Any]]:
    """Returns a session of the graph of a run or saved model, and its record; makes the graph if there is none yet.

    `small` asks for 8-bit products. ValueError if packages are missing or the model cannot be written as a graph,
    OSError with the remedy if the folder of the model cannot be written to.
    """
    graph.require_packages()
    model = saved.locate(run)
    place, name = model / FOLDER / part, SMALL if small else WHOLE
    record = _record(place, _identity(model))
    if record is None or name not in record["bytes"]:
        try:
            record = _make(run, model, place, part, small=small)
        except OSError as error:
            raise OSError(
                f"{place} cannot be written ({error.strerror or error}), where the graph is kept: copy the model to a "
                "folder of your own, or take --backend torch"
            ) from None
    return Session(place / name), record


def _identity(model: Path) -> dict[str, str]:
    """Returns what a graph is made of."""
    return {"weights_sha256": saved.weights_hash(model), "config_sha256": files.sha256(model / "config.json")}


def _record(place: Path, identity: dict[str, str]) -> dict[str, Any] | None:
    """Returns the record of the graphs in the folder, None if they are missing or of another model."""
    if not (place / RECORD).is_file():
        return None
    record = reading.read(place / RECORD, CachedGraph, REMOVE)
    whole = all((place / name).is_file() for name in record["bytes"])
    return record if whole and all(record[key] == value for key, value in identity.items()) else None


def _make(run: Path, model: Path, place: Path, part: Part, *, small: bool) -> dict[str, Any]:
    """Write the graphs and their record, complete or not at all; returns the record."""
    source = _source(run, model, part)
    place.parent.mkdir(exist_ok=True)
    with files.new_directory(place) as folder:
        made = graph.write(source, folder / WHOLE)
        checks = verify(source, folder / WHOLE)
        record = {"schema": reading.SCHEMA, "kind": "graph", **_identity(model), **made}
        record["difference"] = max(check["difference"] for check in checks)
        if small:
            int8.quantise(folder / WHOLE, folder / SMALL)
            record["int8"] = int8.cost(source, folder / WHOLE, folder / SMALL)
        record["bytes"] = {file.name: file.stat().st_size for file in sorted(folder.glob("*.onnx*"))}
        record["versions"] = {package: version(package) for package in ("torch", "transformers", *graph.NEEDED)}
        files.write_json(folder / RECORD, reading.sealed(record))
    return record


def _source(run: Path, model: Path, part: Part) -> Source:
    """Returns the model, or its encoder, without the parts of sentence-transformers: they are applied to its states."""
    source = open_source(run)._replace(parts=None)
    if part == "whole":
        if isinstance(source.model, LeanformerForMultipleChoice):
            raise ValueError(f"{model} scores choices, which no graph is kept for: take --backend torch")
        return source
    encoder = pretrained.load_encoder(model).cpu()
    encoder.config.architectures = [type(encoder).__name__]
    return source._replace(model=encoder)
