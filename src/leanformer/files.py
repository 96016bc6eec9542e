"""Files: their sha256, and writes that a kill or a full disk cannot tear.

A write goes to another name, is forced to disk and renamed: a name is therefore either absent, old or complete. The
other name, `.NAME.PID-HOST.tmp` (`.old` for what is being removed), says whose it is, so that two processes that write
one name do not disturb each other, and the next write of NAME removes what a killed one left behind.
"""

import hashlib
import json
import os
import re
import shutil
import socket
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

DAY = 24 * 60 * 60.0
SUMS = "SHA256SUMS"
_FOR_PEOPLE = re.compile(rf"{SUMS}|.*\.md|LICEN[CS]E.*")
_INTACT: set[tuple[Any, ...]] = set()
"""What this process has read and found to be as its sum says."""


def sha256(path: Path) -> str:
    """The file's sha256 in hexadecimal digits; reads the file once, in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_part(path: Path, start: int, length: int) -> str:
    """The same of `length` bytes from `start` on; of none there need be no file."""
    if not length:
        return sha256_of(b"")
    with path.open("rb") as file:
        file.seek(start)
        return sha256_of(file.read(length))


def sha256_of(content: str | bytes) -> str:
    """Returns the hash of a text, in UTF-8, or of bytes."""
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()


def write_sums(folder: Path, known: Mapping[str, str] | None = None) -> None:
    """SHA256SUMS of the files in `folder` but those for people alone, which people edit: README.md, licences.
    `sha256sum -c SHA256SUMS` checks it, too. The sums in `known`, by name, are not computed again."""
    names = sorted(file.name for file in folder.iterdir() if file.is_file() and not _FOR_PEOPLE.fullmatch(file.name))
    lines = "".join(f"{(known or {}).get(name) or sha256(folder / name)}  {name}\n" for name in names)
    (folder / SUMS).write_text(lines, encoding="utf-8")


def read_sums(folder: Path, remedy: str) -> dict[str, str]:
    """{name: sha256} of the folder's SHA256SUMS, as sha256sum writes it; ValueError that ends in `remedy` if it is
    damaged. Files of other folders, which somebody else's sums may list, are left out."""
    found: dict[str, str] = {}
    for line in (folder / SUMS).read_text(encoding="utf-8", errors="replace").splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        tagged = re.sub(r"^SHA256 \((.+)\) = ([0-9A-Fa-f]{64})$", r"\2  \1", line)  # sha256sum --tag
        if not (parts := re.fullmatch(r"([0-9A-Fa-f]{64}) [ *](?:\./)?(.+)", tagged)):
            raise ValueError(f"{folder / SUMS} is damaged ({line[:80]!r} is no sum and name): {remedy}")
        if is_plain(parts[2]) and parts[2] != SUMS:
            found[parts[2]] = parts[1].lower()
    return found


def check_sums(folder: Path, remedy: str, *, whole: bool = True, part: tuple[int, int] = (0, 1)) -> None:
    """ValueError that ends in `remedy` unless every file that SHA256SUMS lists is what it was when the sums were
    written, and for one that is missing if the folder has to be `whole`. A file is read once in a process, and again
    when its size or time has changed. Of n processes that share the work, process i takes `part` (i, n)."""
    for name, digest in list(read_sums(folder, remedy).items())[part[0] :: part[1]]:
        path = folder / name
        if not path.is_file():
            if not whole:
                continue
            raise ValueError(f"{path} is missing, which {SUMS} lists: {remedy}")
        seen = (path.resolve(), digest, *identity(path))
        if seen not in _INTACT:
            if sha256(path) != digest:
                raise ValueError(
                    f"{path} is damaged, its sha256 is not the one in {SUMS} (truncated or edited?): {remedy}"
                )
            _INTACT.add(seen)


def identity(path: Path) -> tuple[int, int, int]:
    """(bytes, nanoseconds of the last change, number of the file): as long as they are equal, nobody wrote to it."""
    status = path.stat()
    return status.st_size, status.st_mtime_ns, status.st_ino


def is_plain(name: str) -> bool:
    """Whether it is a file's name and leads nowhere else: no folder, no drive, not hidden."""
    return bool(name) and name == name.strip() and name[0] != "." and not any(sign in name for sign in "/\\:\0")


def within(folder: Path, *names: str) -> Path:
    """The path of a file in `folder`, or below it by several names. ValueError if it, or a link that it is, leads out.

    In the Hugging Face cache, where a snapshot's files are links to its blobs, the model's own cache is the limit.
    """
    path = folder.joinpath(*names)
    root = folder.resolve()
    root = root.parents[1] if root.parent.name == "snapshots" else root
    if not all(map(is_plain, names)) or not path.resolve().is_relative_to(root):
        raise ValueError(f"{path} leads out of {folder}: put the file itself there")
    return path


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """A file to write; when the block ends without an error it is at `path`, in place of what was there."""
    temporary = _beside(path, "tmp")
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
def new_directory(path: Path, replace: bool = True) -> Iterator[Path]:
    """An empty directory to fill; when the block ends without an error it is at `path`, in place of what was there.

    Without `replace` a FileExistsError says that `path` holds something, at the start or when the block has ended.
    """
    if not replace:
        require_unused(path)
    temporary = _beside(path, "tmp")
    with _all_or_nothing(
        temporary, path, "" if replace else ": nothing was kept, make room there or choose another place"
    ):
        temporary.mkdir(parents=True)
        yield temporary
        for entry in sorted(temporary.rglob("*")):
            _force_to_disk(entry)
        _force_to_disk(temporary)
        if not replace:
            require_unused(path)
        if path.exists():
            remove_directory(path) if replace else path.rmdir()
        os.rename(temporary, path)
        _force_to_disk(path.parent)


def require_space(path: Path, needed: int, remedy: str) -> None:
    """ValueError that ends in `remedy` if the disk of `path`, which need not exist, has no room for so many bytes."""
    place = next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.exists())
    free = shutil.disk_usage(place).free
    if needed > free:
        room = f"{place} has {free / 1e9:.1f} GB free"
        raise ValueError(f"{path} needs about {needed / 1e9:.1f} GB and {room}: {remedy}")


def require_unused(path: Path) -> None:
    """FileExistsError unless `path` is free."""
    if not is_free(path):
        raise FileExistsError(f"{path}: there is something here already; choose another place, or remove it first")


def is_free(path: Path) -> bool:
    """Whether there is nothing, or a directory that holds nothing."""
    return not path.exists() or (path.is_dir() and not any(path.iterdir()))


def holdings(folder: Path) -> list[str]:
    """Names of what a user has in `folder`: not locks, half-written files or what a file manager adds."""
    hidden = re.compile(r"\.DS_Store|\.lock(\..*)?|\..*\.(tmp|old)")
    return sorted(entry.name for entry in folder.iterdir() if not hidden.fullmatch(entry.name))


def remove_directory(path: Path) -> None:
    """Gone at once under its name, whenever the process is killed."""
    old = _beside(path, "old")
    os.rename(path, old)
    _remove(old)


def remove_leftovers(folder: Path, name: str) -> None:
    """What killed processes left half-written or half-removed of `name` (a glob pattern) in `folder`, which no other
    process may be writing."""
    for ending in ("tmp", "old", "*.tmp", "*.old"):
        for entry in folder.glob(f".{name}.{ending}"):
            _remove(entry)


def _beside(path: Path, ending: str) -> Path:
    """A free name of this process's own beside `path`; what dead processes left of theirs is removed."""
    own = path.with_name(f".{path.name}.{os.getpid()}-{_host()}.{ending}")
    _remove(own)
    owned = re.compile(rf"\.{re.escape(path.name)}\.(\d+)-([0-9a-f]{{8}})\.(tmp|old)")
    for entry in path.parent.iterdir() if path.parent.is_dir() else ():
        if (found := owned.fullmatch(entry.name)) and _abandoned(entry, int(found[1]), found[2]):
            _remove(entry)
    return own


def _abandoned(entry: Path, pid: int, host: str) -> bool:
    """Whether who wrote the entry is gone; of another machine's process its silence of a day says so."""
    if host == _host() and not _alive(pid):
        return True
    try:
        newest = max(each.lstat().st_mtime for each in (entry, *entry.rglob("*")))
    except OSError:  # it changes at this very moment
        return False
    return time.time() - newest > DAY


def _alive(pid: int) -> bool:
    if os.name == "nt":  # there, `os.kill` would end it
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _host() -> str:
    return sha256_of(socket.gethostname())[:8]


@contextmanager
def _all_or_nothing(temporary: Path, path: Path, remedy: str = "") -> Iterator[None]:
    """If writing fails, take the temporary away and raise an OSError that names what was to be written. An error that
    names another file, such as an input's, is raised as it is."""
    try:
        yield
    except BaseException as error:
        _remove(temporary)
        if not isinstance(error, (OSError, SafetensorError)) or isinstance(error, FileExistsError):
            raise
        blamed = getattr(error, "filename", None)
        beside = str(path.with_name(f".{path.name}."))
        if blamed and Path(blamed) not in (path, *path.parents) and not str(blamed).startswith(beside):
            raise
        ours = isinstance(error, OSError) and error.errno is None  # a message of leanformer's own
        if ours and str(temporary) not in str(error):
            raise
        reason = getattr(error, "strerror", None) or str(error).replace(str(temporary), str(path))
        raise OSError(f"cannot write {path} ({reason}){remedy}") from error


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _force_to_disk(path: Path) -> None:
    if os.name == "nt" and path.is_dir():  # Windows opens no directories
        return
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
