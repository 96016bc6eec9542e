"""results.json of a study: what it begins with, and numbers as JSON holds them."""

import math
from typing import Any

from leanformer.records.reading import SCHEMA


def results_of(kind: str, found: dict[str, Any]) -> dict[str, Any]:
    """The content of results.json of a study of this kind."""
    return finite({"schema": SCHEMA, "kind": kind, **found})


def finite(value: Any) -> Any:
    """The same with null for what JSON cannot hold: NaN and infinity."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
