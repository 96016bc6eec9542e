"""A model for other machines and tools: the function behind `leanformer export`."""

from pathlib import Path
from typing import Any

from leanformer.export import hub
from leanformer.export.source import open_source
from leanformer.spelling import suggest
from leanformer.training import durable

FORMATS = ("hub", "onnx")


def export(run: str | Path, target: str | Path, format: str = "hub", licence: str | None = None) -> dict[str, Any]:
    """Write the model of `run` to the new folder `target`, checked and whole or not at all; what was checked.

    `licence` is the model's, for its card, in the hub's words (mit, apache-2.0, cc-by-4.0, ...).

    ValueError for an unknown format and for an export that does not answer as the model does, FileExistsError for a
    folder that is not empty.
    """
    run, target = Path(run), Path(target)
    if format not in FORMATS:
        raise ValueError(f"unknown format {format!r}: {suggest(format, FORMATS)}")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise FileExistsError(f"{target} exists already: name a new directory")
    source = open_source(run)
    with durable.new_directory(target) as folder:
        hub.write(source, folder, target.name, licence)
        difference = hub.verify(source, folder)
    return {"format": format, "path": str(target), "difference": difference}
