"""Reads the files of a run, checked by their schemas; a damaged one is a `ValueError` of one line that names it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from leanformer.records import reading
from leanformer.records import run as records

REMEDY = "restore it, or delete its run and start it again"


def read_record(path: Path, schema: type[reading.Record] = records.Run) -> dict[str, Any]:
    return reading.read(path, schema, REMEDY)


def read_lines(path: Path, schema: type[reading.Record] = records.Line) -> Iterator[dict[str, Any]]:
    """The objects of a JSONL file; a last line that was cut off in writing (no line end) is not there yet."""
    return reading.read_lines(path, schema, REMEDY)
