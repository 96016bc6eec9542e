"""Readers of the files of a run, checked by their schemas; a damaged file raises a one-line `ValueError`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from leanformer.records import reading
from leanformer.records import run as records

REMEDY = "restore it, or delete its run and start it again"


def read_record(path: Path, schema: type[reading.Record] = records.Run) -> dict[str, Any]:
    return reading.read(path, schema, REMEDY)


def read_lines(path: Path, schema: type[reading.Record] = records.Line) -> Iterator[dict[str, Any]]:
    """Yields the objects of a JSONL file; an incomplete last line (without line end) is left out."""
    return reading.read_lines(path, schema, REMEDY)
