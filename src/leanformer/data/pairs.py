"""A data directory of pairs: what encoder-decoder models are trained on and scored with.

    data.json                      as of text (`corpus.py`), with kind "pairs", the task, and how its splits were made
    SPLIT.source.bin, .target.bin  token ids; each text is [CLS] text [SEP]
    SPLIT.*.documents.bin          int64 start offset of every text
    SPLIT.jsonl                    the raw texts of an evaluation split, a line a pair: source, references
    tokenizer files                one tokenizer for both sides

[CLS] begins what the decoder reads and [SEP] ends what it writes: for the pair (s, t) the encoder reads [CLS] s [SEP],
the decoder [CLS] t, and t [SEP] is asked for. A side longer than the run's sequence length is cut, its [SEP] kept.

B batch, S longest source in it, T longest target.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from leanformer import files
from leanformer.data import integrity
from leanformer.data.corpus import Prepared, TokenStore, checked, token_store
from leanformer.data.masking import IGNORED
from leanformer.records import reading
from leanformer.records.data import Texts

SIDES = ("source", "target")


class PairBatch(NamedTuple):
    """All int64."""

    sources: NDArray[np.int64]
    """(B, S), padded with [PAD]."""
    mask: NDArray[np.int64]
    """(B, S), 1 where there is a token."""
    targets: NDArray[np.int64]
    """(B, T) t [SEP], padded with -100."""


@dataclass(frozen=True)
class PairStore:
    """One split, as runs of a sequence length read it."""

    source: TokenStore
    target: TokenStore

    def __len__(self) -> int:
        return len(self.source.documents)

    def lengths(self, limit: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(pairs,) each: tokens of [CLS] s [SEP] and of t [SEP], at most `limit`."""
        return np.minimum(_sizes(self.source), limit), np.minimum(_sizes(self.target) - 1, limit)

    def truncated(self, limit: int) -> dict[str, int]:
        """How many texts of each side are longer than that."""
        source, target = _sizes(self.source), _sizes(self.target) - 1
        return {"source": int((source > limit).sum()), "target": int((target > limit).sum())}

    def batch(self, rows: NDArray[np.int64], limit: int, pad_id: int) -> PairBatch:
        sources = [_cut(_text(self.source, i), limit) for i in rows]
        targets = [_cut(_text(self.target, i)[1:], limit) for i in rows]
        ones = [np.ones_like(source) for source in sources]
        return PairBatch(_padded(sources, pad_id), _padded(ones, 0), _padded(targets, IGNORED))


@dataclass(frozen=True)
class PairCorpus(Prepared):
    splits: dict[str, PairStore]

    @classmethod
    def open(cls, path: str | Path, *, verify: bool = False) -> "PairCorpus":
        common = checked(Path(path), "pairs", verify, _needed(("train", "valid")))
        names = dict.fromkeys(store.rpartition(".")[0] for store in common["record"]["splits"])
        for name in _needed(names):
            files.within(Path(path), name)
        splits = {name: PairStore(*(token_store(common, f"{name}.{side}") for side in SIDES)) for name in names}
        return cls(**common, splits=splits)

    @property
    def train(self) -> PairStore:
        return self.splits["train"]

    @property
    def valid(self) -> PairStore:
        return self.splits["valid"]

    @property
    def task(self) -> str:
        return self.record["task"]

    @property
    def kind(self) -> str:
        """Of `generation_tasks.KINDS`."""
        return self.record["task_kind"]

    @property
    def evaluation_splits(self) -> list[str]:
        return [name for name in self.splits if name != "train"]

    @property
    def test(self) -> str:
        """The split that is scored unless another is asked for: the first test split, without any `valid`."""
        return next((name for name in self.evaluation_splits if name != "valid"), "valid")

    @property
    def sizes(self) -> dict[str, int]:
        return {
            "train_pairs": len(self.train),
            "train_tokens": len(self.train.source) + len(self.train.target),
            "validation_pairs": len(self.valid),
        }

    def texts(self, split: str) -> list[dict[str, Any]]:
        """{"source", "references"} of every pair of an evaluation split."""
        return list(reading.read_lines(self.path / f"{split}.jsonl", Texts, integrity.REMEDY))


def _needed(splits: Iterable[str]) -> list[str]:
    return [f"{split}.{side}{ending}" for split in splits for side in SIDES for ending in (".bin", ".documents.bin")]


def _sizes(store: TokenStore) -> NDArray[np.int64]:
    return np.diff(store.documents, append=len(store.tokens))


def _text(store: TokenStore, number: int) -> NDArray[np.unsignedinteger]:
    ends = store.documents[number + 1] if number + 1 < len(store.documents) else len(store.tokens)
    return store.tokens[store.documents[number] : ends]


def _cut(text: NDArray, limit: int) -> NDArray:
    return text if len(text) <= limit else np.append(text[: limit - 1], text[-1])


def _padded(rows: list[NDArray], fill: int) -> NDArray[np.int64]:
    padded = np.full((len(rows), max(map(len, rows))), fill, np.int64)
    for i, row in enumerate(rows):
        padded[i, : len(row)] = row
    return padded
