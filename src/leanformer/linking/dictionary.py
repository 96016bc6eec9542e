"""A dictionary: concepts, the ids each goes by, and its names.

    {"id": "D001260", "alt_ids": ["208900"], "names": ["ataxia telangiectasia", "louis bar syndrome"]}     a line each

A concept is right if any of its ids is the one that is asked for. Two lines may share an id: they stay two concepts,
since the other ids tell them apart, but are one to a loss that asks which texts mean the same.
"""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from leanformer.data import tables
from leanformer.data.decoding import COMPRESSED

SUFFIXES = tuple(f"{suffix}{packing}" for suffix in tables.JSON for packing in ("", *COMPRESSED))


@dataclass(frozen=True)
class Dictionary:
    ids: list[tuple[str, ...]]
    """Of each concept, its own first."""
    names: list[tuple[str, ...]]
    """Of each concept."""
    joined: tuple[tuple[str, str], ...] = ()
    """(text, id) of mentions that have become names."""

    @cached_property
    def holding(self) -> dict[str, list[int]]:
        """Returns, for each id, the concepts that go by it, those first whose own it is."""
        found: dict[str, list[int]] = defaultdict(list)
        for own in (True, False):
            for concept, (first, *others) in enumerate(self.ids):
                for id in [first] if own else others:
                    if concept not in found[id]:
                        found[id].append(concept)
        return dict(found)

    @cached_property
    def meanings(self) -> dict[str, list[int]]:
        """Returns, for each text, the concepts it is a name of: those first that joined mentions most often mean by
        it, then the order of the dictionary. Mentions of an id that is not in the dictionary name nothing."""
        found: dict[str, list[int]] = defaultdict(list)
        for concept, names in enumerate(self.names):
            for name in names:
                if concept not in found[name]:
                    found[name].append(concept)
        for text, counts in self._meant.items():
            meant = [concept for concept, _ in counts.most_common()]  # ties in the order of their first appearance
            found[text] = [*meant, *(concept for concept in found[text] if concept not in meant)]
        return dict(found)

    @cached_property
    def _meant(self) -> dict[str, Counter[int]]:
        """Counts, for each text, how often joined mentions mean each concept by it."""
        counts: dict[str, Counter[int]] = defaultdict(Counter)
        for text, id in self.joined:
            if id in self.holding:
                counts[text][self.holding[id][0]] += 1
        return counts

    def label(self, id: str) -> int:
        """A number that all texts have which mean the same."""
        return self.holding[self.ids[self.holding[id][0]][0]][0]

    def synonyms(self, id: str) -> list[str]:
        """Returns all names of all concepts that go by this id, each once."""
        return list(dict.fromkeys(name for concept in self.holding[id] for name in self.names[concept]))

    def with_mentions(self, mentions: Iterable[tuple[str, str]]) -> "Dictionary":
        return Dictionary(self.ids, self.names, (*self.joined, *mentions))

    @property
    def hash(self) -> str:
        """Returns the sha256 of ids and names, the same for equal dictionaries, whatever files they came from."""
        return hashlib.sha256(json.dumps([self.ids, self.names, self.joined]).encode()).hexdigest()


def read_dictionary(path: Path) -> Dictionary:
    """Raises ValueError with file and line for what is no entry, and OSError if there is no such file."""
    ids, names = [], []
    for place, row in json_rows(path):
        own, others = texts(row, "id", place, one=True), texts(row, "alt_ids", place) if "alt_ids" in row else []
        called = texts(row, "names", place)
        if not called:
            raise ValueError(f"{place}: names is empty: give {own[0]} a name or drop the row")
        ids.append(tuple(dict.fromkeys([*own, *others])))
        names.append(tuple(dict.fromkeys(called)))
    if not ids:
        raise ValueError(f"{path} is empty: a dictionary needs rows with id and names")
    return Dictionary(ids, names)


def json_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Returns (place, row) for every row of a JSON file."""
    if not path.name.lower().endswith(SUFFIXES):
        raise ValueError(f"{path}: rows that hold lists are read from {', '.join(SUFFIXES)}: convert the file")
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    return tables.read(path)


def texts(row: dict[str, Any], column: str, place: str, *, one: bool = False) -> list[str]:
    """The texts of a list, or the `one` there is, without white space at their ends; none of them may be empty."""
    if column not in row:
        raise ValueError(f"{place}: no column {column!r}; it has: {', '.join(row)}")
    values = [row[column]] if one else row[column]
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise ValueError(f"{place}: {column} must be {'a text' if one else 'a list of texts'}, not {row[column]!r}")
    values = [" ".join(value.split()) for value in values]
    if not all(values):
        raise ValueError(f"{place}: {column} is empty or holds an empty text: fill it in or drop the row")
    return values
