"""Files: their sha256, and writes that a kill or a full disk cannot tear.

A write goes to another name, is forced to disk and renamed.
A name is therefore either absent, old or complete. What a killed process leaves behind is called `.NAME.tmp` or
`.NAME.old`; `remove_leftovers` knows nothing else.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError


def sha256(path: Path) -> str:
    """The file's sha256 in hexadecimal digits; reads the file once, in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """A file to write; when the block ends without an error it is at `path`, in place of what was there."""
    temporary = path.with_name(f".{path.name}.tmp")
    with _all_or_nothing(temporary, path):
        yield temporary
        _force_to_disk(temporary)
        os.replace(temporary, path)
        _force_to_disk(path.parent)


def write_text(path: Path, text: str) -> None:
    with new_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_json_lines(path: Path, rows: Iterable[Any]) -> None:
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


@contextmanager
def new_directory(path: Path) -> Iterator[Path]:
    """An empty directory to fill; when the block ends without an error it is at `path`, in place of what was there."""
    temporary = path.with_name(f".{path.name}.tmp")
    _remove(temporary)
    with _all_or_nothing(temporary, path):
        temporary.mkdir(parents=True)
        yield temporary
        for entry in sorted(temporary.rglob("*")):
            _force_to_disk(entry)
        _force_to_disk(temporary)
        if path.exists():
            remove_directory(path)
        os.rename(temporary, path)
        _force_to_disk(path.parent)


def remove_directory(path: Path) -> None:
    """Gone at once under its name, whenever the process is killed."""
    old = path.with_name(f".{path.name}.old")
    _remove(old)
    os.rename(path, old)
    _remove(old)


def remove_leftovers(folder: Path, name: str) -> None:
    """What a killed process left half-written or half-removed of `name` (a glob pattern) in `folder`."""
    for ending in ("tmp", "old"):
        for entry in folder.glob(f".{name}.{ending}"):
            _remove(entry)


@contextmanager
def _all_or_nothing(temporary: Path, path: Path) -> Iterator[None]:
    """If writing fails, take the temporary away and raise an OSError that names what was to be written."""
    try:
        yield
    except BaseException as error:
        _remove(temporary)
        if isinstance(error, (OSError, SafetensorError)):
            raise OSError(f"cannot write {path} ({getattr(error, 'strerror', None) or error})") from error
        raise


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _force_to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
