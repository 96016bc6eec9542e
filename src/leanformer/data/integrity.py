"""The check of a data directory against data.json.

    always        names inside the directory, the size of every file, and the hash of the record itself
    first         every byte of a file whose identity (size, time of the last change, number) is new: its sha256, ids
                  below the vocabulary's size, valid starts of documents
    later         SAMPLED blocks of the file, different ones every time; a file of at most one block is read as a whole

Intact files are noted in .verified.json of the directory; if that cannot be written, every opening reads everything. A
copy of a directory has files with new identities, so it is read as a whole once.
"""

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from random import SystemRandom
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leanformer import files

BLOCK = 1 << 24
"""The bytes of a block, which has its own sum: 16 MiB."""
SAMPLED = 2
NOTE = ".verified.json"
REMEDY = "run leanformer prepare again, or copy the directory again"


def sums(path: Path) -> dict[str, Any]:
    """Returns the entry of a file in data.json: its size, its sha256 and, if longer than a block, its blocks' sums."""
    whole, blocks = hashlib.sha256(), []
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            whole.update(block)
            blocks.append(files.sha256_of(block))
    record: dict[str, Any] = {"bytes": path.stat().st_size, "sha256": whole.hexdigest()}
    return record | ({"blocks": {"bytes": BLOCK, "sha256": blocks}} if len(blocks) > 1 else {})


def content_hash(record: Mapping[str, Any]) -> str:
    """Returns the sha256 of the content in data.json, whose fields are between `hash` and `files`.

    The content is all that a model can see: the ids and their meaning and, for pairs, the texts that it is scored with.
    """
    content: dict[str, Any] = {}
    for key, value in record.items():
        if key == "files":
            break
        if key != "hash":
            content[key] = value
    seen = {
        name: {key: file[key] for key in ("bytes", "sha256")}
        for name, file in record["files"].items()
        if name.endswith((".bin", ".jsonl"))
    }
    return files.sha256_of(json.dumps([content, seen]))


def require_intact(directory: Path, record: Mapping[str, Any], *, whole: bool = False) -> None:
    """Raises ValueError or FileNotFoundError if anything differs from data.json; `whole` reads every byte."""
    if content_hash(record) != record["hash"]:
        raise ValueError(f"{directory / 'data.json'} is damaged (its hash is of other data): {REMEDY}")
    noted = {} if whole else _noted(directory)
    found: dict[str, Any] = {}
    for name, expected in record["files"].items():
        path = files.within(directory, name)
        if not path.is_file():
            raise FileNotFoundError(f"{path}: missing from the data directory; {REMEDY}")
        size, *_ = identity = list(files.identity(path))
        if size != expected["bytes"]:
            raise ValueError(f"{path}: {size} bytes where data.json says {expected['bytes']}; {REMEDY}")
        known = [*identity, expected["sha256"]]
        if noted.get(name) == known and size > BLOCK:
            _require_blocks(path, expected)
        else:
            _require_whole(path, expected, record)
        found[name] = known
    if found != noted:
        with suppress(OSError):  # a read-only directory
            files.write_json(directory / NOTE, found)


def _require_whole(path: Path, expected: Mapping[str, Any], record: Mapping[str, Any]) -> None:
    if files.sha256(path) != expected["sha256"]:
        raise ValueError(f"{path} is damaged (its content is not what was written): {REMEDY}")
    if path.name.endswith(".documents.bin"):
        starts = mapped(path, np.dtype(np.int64))
        tokens = path.with_name(path.name.removesuffix(".documents.bin") + ".bin").stat().st_size
        tokens //= np.dtype(record["dtype"]).itemsize
        right = len(starts) == 0 or (starts[0] == 0 and bool(np.all(np.diff(starts) > 0)) and starts[-1] < tokens)
        if not right:
            raise ValueError(f"{path} is damaged (documents do not start one after the other): {REMEDY}")
    elif path.suffix == ".bin":
        ids, size = mapped(path, np.dtype(record["dtype"])), record["vocabulary"]["size"]
        if len(ids) and int(ids.max()) >= size:
            raise ValueError(f"{path} is damaged (id {ids.max()} in a vocabulary of {size}): {REMEDY}")


def _require_blocks(path: Path, expected: Mapping[str, Any]) -> None:
    """Check some of the blocks; none in an older file without sums of blocks."""
    blocks = expected.get("blocks") or {"bytes": BLOCK, "sha256": []}
    for i in SystemRandom().sample(range(len(blocks["sha256"])), min(SAMPLED, len(blocks["sha256"]))):
        if files.sha256_of_part(path, i * blocks["bytes"], blocks["bytes"]) != blocks["sha256"][i]:
            raise ValueError(f"{path} is damaged (block {i} of {blocks['bytes']} bytes): {REMEDY}")


def mapped(path: Path, dtype: np.dtype) -> NDArray:
    """Returns the file as a memory-mapped array; an empty file, which cannot be mapped, as an empty array."""
    if path.stat().st_size % dtype.itemsize:
        raise ValueError(f"{path} is damaged (half a number at its end): {REMEDY}")
    return np.memmap(path, dtype, mode="r") if path.stat().st_size else np.zeros(0, dtype)


def _noted(directory: Path) -> dict[str, Any]:
    """Returns the files that were found intact before; none if the note cannot be read."""
    try:
        found = json.loads((directory / NOTE).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
