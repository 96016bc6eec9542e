"""Halves of surrogate pairs, which a string of Python or JSON can hold but no tokenizer accepts."""

import re
from typing import Any

HALF = re.compile("[\ud800-\udfff]")


def without_half_pairs(value: Any) -> Any:
    """Returns the value with every half of a surrogate pair replaced, in texts at any depth of lists and tables."""
    if isinstance(value, str):
        if HALF.search(value) is None:
            return value
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, tuple) and type(value) is tuple:
        return tuple(map(without_half_pairs, value))
    if isinstance(value, list):
        return [without_half_pairs(element) for element in value]
    if isinstance(value, dict):
        return {without_half_pairs(key): without_half_pairs(element) for key, element in value.items()}
    return value
