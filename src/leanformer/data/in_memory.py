"""Texts that a caller of the library holds, as a source beside files and data sets."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from leanformer.data.half_pairs import without_half_pairs


@dataclass(frozen=True, eq=False)
class InMemory:
    """Texts, or rows of named columns, that can be read several times; `name` stands for them in messages and records.

    An element is a text, a tuple with one text per column, or a mapping from columns to values.
    """

    elements: Iterable[Any]
    name: str

    def __str__(self) -> str:
        return self.name

    def places(self) -> Iterator[tuple[str, Any]]:
        """Yields (place, element); the place counts from 1, as lines and rows of files do.

        As in files of JSON, a half of a surrogate pair is replaced, since no tokenizer accepts one.
        """
        for number, element in enumerate(self.elements, 1):
            yield f"{self.name}, number {number}", without_half_pairs(element)
