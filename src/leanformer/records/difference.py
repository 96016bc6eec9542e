"""The first thing in which two records differ, so that a refusal can name it."""

from collections.abc import Container, Mapping
from typing import Any, NamedTuple


class Difference(NamedTuple):
    key: str
    before: Any
    now: Any

    def __str__(self) -> str:
        return f"{self.key} = {self.before!r}, not {self.now!r}"


def difference(before: Mapping[str, Any], now: Mapping[str, Any], free: Container[str] = ()) -> Difference | None:
    """The first key in the order of `now`, then of `before`, and none of the `free` ones, whose values are not equal;
    one that only one of the two has is None in the other."""
    for key in {**now, **before}:
        if key not in free and before.get(key) != now.get(key):
            return Difference(key, before.get(key), now.get(key))
    return None
