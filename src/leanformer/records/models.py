"""conversion.json, export.json and the index of weights in several files."""

from typing import Any

from leanformer.records.data import FileName
from leanformer.records.reading import Record


class Conversion(Record):
    """What `leanformer convert` says of the model it made."""

    source: str | None = None
    attention: str | None = None
    notes: list[str] = []


class WeightIndex(Record):
    weight_map: dict[str, FileName]
    metadata: dict[str, Any] | None = None
