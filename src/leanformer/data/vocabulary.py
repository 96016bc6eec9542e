"""The vocabulary of a tokenizer, as models and masking need it: the number of ids, and the special ids."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Vocabulary:
    """The ids 0 .. size-1. Special ids ([PAD], [UNK], [CLS], [SEP], [MASK] and others of a given tokenizer) are never a
    target of the masked LM and never a random replacement; all others are ordinary."""

    size: int
    special_ids: tuple[int, ...]
    pad_id: int
    cls_id: int
    sep_id: int
    mask_id: int
    unk_id: int | None
    """None for a byte-level tokenizer, which has a token for every byte."""

    @classmethod
    def of(cls, record: dict[str, Any]) -> "Vocabulary":
        """Returns the vocabulary in data.json."""
        return cls(**{**record, "special_ids": tuple(record["special_ids"])})

    @cached_property
    def is_special(self) -> NDArray[np.bool_]:
        """Returns (V,), whether each id is special."""
        special = np.zeros(self.size, bool)
        special[list(self.special_ids)] = True
        return special

    @cached_property
    def ordinary_ids(self) -> NDArray[np.int64]:
        """Returns the ordinary ids, ascending."""
        return np.flatnonzero(~self.is_special)
