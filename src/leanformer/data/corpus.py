"""A data directory: tokens on disk, memory-mapped, with everything needed to say which data a run has seen.

    data.json               what is here: sizes, sha256 of every file, special ids, sources, settings, `hash` of it all,
                            and (not in the hash) `unknown`, the share of [UNK] in each split, and `notes` to the user
    .verified.json          which files were found to be as data.json says (`integrity`)
    SPLIT.bin               token ids, flat, uint16 (vocabularies up to 65536) or uint32; splits are train, valid (what
                            choices are made by) and test (what is reported), and the names of further texts that
                            are reported on; data from before there was a test part have none
    SPLIT.documents.bin     int64 start offset of every document; each document is [CLS] text [SEP]
    tokenizer files         AutoTokenizer.from_pretrained(DATA) loads them

Sequence i of length L is tokens[i L : (i + 1) L]: contiguous packing, no padding, the remainder dropped. The length is
the reader's choice, so one data directory serves every sequence length.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from leanformer.data import integrity
from leanformer.data.integrity import mapped
from leanformer.data.vocabulary import Vocabulary
from leanformer.records import reading
from leanformer.records.data import Data, Pairs

SCHEMA = 1
RECORD = "data.json"
OFFSET = np.dtype(np.int64)


@dataclass(frozen=True)
class TokenStore:
    """The tokens of one split (memory-mapped, never copied whole) and where its documents start."""

    tokens: NDArray[np.unsignedinteger]
    documents: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.tokens)

    def sequences(self, length: int) -> int:
        """How many whole sequences of this length there are."""
        return len(self.tokens) // length

    def batch(self, ids: ArrayLike, length: int) -> NDArray[np.int64]:
        """(B, L) int64: the sequences with these ids."""
        ids, total = np.asarray(ids, np.int64), self.sequences(length)
        if ids.size and not 0 <= ids.min() <= ids.max() < total:
            raise IndexError(f"sequences {ids.min()}..{ids.max()} are not all in range({total})")
        rows = self.tokens[: total * length].reshape(total, length)
        return np.asarray(rows[ids], np.int64)

    def document_numbers(self, ids: ArrayLike, length: int) -> NDArray[np.int64]:
        """(B, L) the document, counted from 1, of every token of the sequences with these ids."""
        places = np.asarray(ids, np.int64)[:, None] * length + np.arange(length)
        return np.searchsorted(self.documents, places, side="right").astype(np.int64)

    def counts(self, vocab_size: int) -> NDArray[np.int64]:
        """(V,) how often every id occurs; reads the file once, a piece at a time."""
        total = np.zeros(vocab_size, np.int64)
        for start in range(0, len(self.tokens), 1 << 22):
            total += np.bincount(self.tokens[start : start + (1 << 22)], minlength=vocab_size)
        return total


@dataclass(frozen=True)
class Prepared:
    """An opened data directory. `hash` names the content (tokens and tokenizer), not the place: a copy has the same."""

    path: Path
    vocabulary: Vocabulary
    hash: str
    tokenizer_hash: str
    record: dict[str, Any]
    """data.json"""

    @property
    def vocab_size(self) -> int:
        return self.vocabulary.size

    @property
    def mask_id(self) -> int:
        return self.vocabulary.mask_id

    @property
    def pad_id(self) -> int:
        return self.vocabulary.pad_id

    @property
    def cls_id(self) -> int:
        return self.vocabulary.cls_id

    @property
    def sep_id(self) -> int:
        return self.vocabulary.sep_id

    @property
    def ordinary_ids(self) -> NDArray[np.int64]:
        return self.vocabulary.ordinary_ids

    @property
    def tokenizer_files(self) -> list[Path]:
        """What a run copies beside its model."""
        return [self.path / name for name in self.record["files"] if not name.endswith((".bin", ".jsonl"))]


@dataclass(frozen=True)
class Corpus(Prepared):
    """Text: what masked and causal language models are trained on."""

    train: TokenStore
    valid: TokenStore
    test: TokenStore | None = None
    """None for data that were prepared without one."""
    others: Mapping[str, TokenStore] = field(default_factory=dict)
    """More texts that models are reported on, by name (`prepare --test-on`)."""

    @classmethod
    def open(cls, path: str | Path, *, verify: bool = False) -> "Corpus":
        """The files are those that data.json describes (`integrity`); `verify` reads every byte of them again."""
        needed = [f"{split}{ending}" for split in ("train", "valid") for ending in (".bin", ".documents.bin")]
        common = checked(Path(path), "text", verify, needed)
        known = ("train", "valid", "test")
        others = {name: token_store(common, name) for name in common["record"]["splits"] if name not in known}
        test = token_store(common, "test") if "test.bin" in common["record"]["files"] else None
        train, valid = token_store(common, "train"), token_store(common, "valid")
        return cls(**common, train=train, valid=valid, test=test, others=others)

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process opens it anew, instead of getting all of its tokens."""
        return Corpus.open, (self.path,)

    @property
    def sizes(self) -> dict[str, int]:
        """What a run records of them."""
        tested = {} if self.test is None else {"test_tokens": len(self.test)}
        return {"train_tokens": len(self.train), "validation_tokens": len(self.valid), **tested}


def checked(path: Path, kind: str, verify: bool, needed: Sequence[str]) -> dict[str, Any]:
    """The fields of `Prepared` of a whole data directory of this kind, in which no file that is `needed` is missing."""
    record = read_record(path)
    if record.get("kind", "text") != kind:
        remedy = {
            "text": 'they are for training.objective = "seq2seq"; prepare text for this one',
            "pairs": "give a directory made with: leanformer prepare --task TASK --task-data DIR, or another objective",
        }[kind]
        raise ValueError(f"{path} holds {record.get('kind', 'text')}, not {kind}: {remedy}")
    for name in needed:
        if name not in record["files"]:
            raise ValueError(f"{path / RECORD} is damaged (it lists no {name}): {integrity.REMEDY}")
    integrity.require_intact(path, record, whole=verify)
    return {
        "path": path,
        "vocabulary": Vocabulary.of(record["vocabulary"]),
        "hash": record["hash"],
        "tokenizer_hash": record["tokenizer_hash"],
        "record": record,
    }


def token_store(common: dict[str, Any], name: str) -> TokenStore:
    path, dtype = common["path"], np.dtype(common["record"]["dtype"])
    return TokenStore(mapped(path / f"{name}.bin", dtype), mapped(path / f"{name}.documents.bin", OFFSET))


def read_record(path: Path) -> dict[str, Any]:
    """data.json of a data directory, or one line that says why this is none."""
    remedy = "make one with: leanformer prepare TEXT --out DATA"
    if not path.is_dir():
        raise FileNotFoundError(f"{path}: no such data directory; {remedy}")
    if not (path / RECORD).is_file():
        raise FileNotFoundError(f"{path}: not a data directory (it has no {RECORD}); {remedy}")
    record = reading.read(path / RECORD, Data, remedy)
    if record.get("kind") == "pairs":
        reading.check(record, Pairs, str(path / RECORD), remedy)
    ids, size = record["vocabulary"], record["vocabulary"]["size"]
    named = [*ids["special_ids"], *(ids[key] for key in ("pad_id", "cls_id", "sep_id", "mask_id", "unk_id"))]
    if any(id is not None and id >= size for id in named) or (size > 1 << 16 and record["dtype"] == "uint16"):
        raise ValueError(f"{path / RECORD} is damaged (special ids or dtype outside a vocabulary of {size}): {remedy}")
    return record
