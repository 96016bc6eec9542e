"""Writing the token files of a data directory, document by document (`corpus.py` reads them)."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

import numpy as np

from leanformer.data.corpus import OFFSET, RECORD, SCHEMA
from leanformer.data.integrity import content_hash, mapped, sums
from leanformer.data.tokenizer_files import FILE
from leanformer.data.vocabulary import Vocabulary
from leanformer.files import write_json
from leanformer.records.reading import sealed


class SplitWriter:
    """Appends documents to SPLIT.bin and their start offsets to SPLIT.documents.bin."""

    def __init__(self, directory: Path, split: str, dtype: np.dtype) -> None:
        self.token_file, self.document_file = (path.open("wb") for path in split_files(directory, split))
        self.width = dtype.itemsize
        self.tokens = self.documents = 0

    def add(self, ids: bytes) -> None:
        self.document_file.write(OFFSET.type(self.tokens).tobytes())
        self.token_file.write(ids)
        self.tokens += len(ids) // self.width
        self.documents += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.token_file.close()
        self.document_file.close()


def split_files(directory: Path, split: str) -> tuple[Path, Path]:
    return directory / f"{split}.bin", directory / f"{split}.documents.bin"


def move_tail(directory: Path, dtype: np.dtype, part: str, wanted: int, keep: int) -> int:
    """Move the last tokens of train to the end of `part`: `wanted` of them or, to begin with a document, up to twice as
    many, as long as train keeps `keep`. A document longer than that is cut in two. Returns how many were moved.
    """
    train, train_starts = split_files(directory, "train")
    part_tokens, part_starts = split_files(directory, part)
    tokens, starts = mapped(train, dtype), mapped(train_starts, OFFSET)
    held = part_tokens.stat().st_size // dtype.itemsize

    cut = len(tokens) - wanted
    nearest = int(starts[np.searchsorted(starts, cut, side="right") - 1])
    if nearest >= max(keep, cut - wanted):
        cut = nearest
    kept_documents = int(np.searchsorted(starts, cut))
    moved = np.union1d(starts[kept_documents:], cut)
    with part_tokens.open("ab") as file:
        tokens[cut:].tofile(file)
    with part_starts.open("ab") as file:
        (moved - cut + held).tofile(file)
    os.truncate(train, cut * dtype.itemsize)
    os.truncate(train_starts, kept_documents * starts.itemsize)
    return len(tokens) - cut


def describe(
    directory: Path,
    dtype: np.dtype,
    vocabulary: Vocabulary,
    stores: Sequence[str] = ("train", "valid"),
    **more: Any,
) -> dict[str, Any]:
    """What data.json says of the files. `hash` names all that a model can see: the ids and what they mean (and, of
    pairs, the texts that it is scored with)."""
    files = {file.name: sums(file) for file in sorted(directory.iterdir())}
    content = {
        "schema": SCHEMA,
        **more,
        "dtype": dtype.name,
        "vocabulary": asdict(vocabulary),
        "tokenizer_hash": files[FILE]["sha256"],
        "splits": {store: _sizes(directory, store, dtype) for store in stores},
    }
    record = {**content, "files": files}
    return {"hash": content_hash(record), **record}


def write_record(directory: Path, record: Mapping[str, Any]) -> None:
    """data.json, the last file of a data directory to be written."""
    write_json(directory / RECORD, sealed(record))


def _sizes(directory: Path, split: str, dtype: np.dtype) -> dict[str, int]:
    tokens, starts = (file.stat().st_size for file in split_files(directory, split))
    return {"tokens": tokens // dtype.itemsize, "documents": starts // OFFSET.itemsize}
