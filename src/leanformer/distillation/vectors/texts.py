"""The texts to distil on: each is read once, and some are held out.

    held out = a tenth of the N different texts, at most `most` and at least 3: the first of a permutation with seed 0

so that validation losses of runs on the same texts can be compared, whatever the seed of the run.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from leanformer.data.order import permutation
from leanformer.data.readers import Source
from leanformer.data.rows import rows
from leanformer.data.sampling import few_notes
from leanformer.data.tables import as_text

SHARE = 0.1
LEAST, LEAST_HELD_OUT = 20, 3
"""The number of different texts that are needed, and of those that are held out."""


@dataclass(frozen=True)
class Texts:
    train: list[str]
    valid: list[str]
    names: list[str]
    """The sources."""
    repeated: int
    """The number of rows whose text had been read before."""

    @property
    def hash(self) -> str:
        """Returns the sha256 of all texts, in order."""
        found = hashlib.sha256()
        for text in (*self.train, *self.valid):
            data = text.encode("utf-8", "surrogatepass")
            found.update(len(data).to_bytes(8, "little") + data)
        return found.hexdigest()

    @property
    def record(self) -> dict[str, Any]:
        """Returns the part of run.json on the texts."""
        sizes = {"texts": len(self.train), "held_out": len(self.valid)}
        return {"paths": self.names, "hash": self.hash, **sizes, "notes": self.notes}

    @property
    def notes(self) -> list[str]:
        """Returns sentences for readers of the losses."""
        notes = few_notes(len(self.valid), "held-out texts", "give more texts")
        if self.repeated:
            notes.append(f"{self.repeated:,} texts occur more than once, and are read once")
        return notes


def read(sources: Sequence[Source], column: str, most: int | None) -> Texts:
    """Returns the texts of all rows of the sources; `column` holds them in tables, and at most `most` are held out.

    Blank texts are left out. Raises ValueError for fewer than LEAST different texts, and what `rows` raises.
    """
    found: dict[str, None] = {}
    number = 0
    for place, row in rows(sources, (column,), option="--text"):
        try:
            text = as_text(row[column], column)
        except ValueError as error:
            raise ValueError(f"{place}: {error}") from None
        if text.strip():
            number += 1
            found[text] = None
    texts = list(found)
    names = [str(source) for source in sources]
    if len(texts) < LEAST:
        raise ValueError(f"{', '.join(names)}: {len(texts)} different texts are too few to distil on: give more")
    size = max(LEAST_HELD_OUT, min(round(SHARE * len(texts)), most or len(texts)))
    held = set(permutation(np.arange(size), len(texts), 0, 0).tolist())
    train = [text for i, text in enumerate(texts) if i not in held]
    return Texts(train, [texts[i] for i in sorted(held)], names, number - len(texts))
