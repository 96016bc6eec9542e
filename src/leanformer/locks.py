"""A directory for one process at a time, on every machine that sees it.

`DIR/.lock` names the process that holds it and its machine, and is touched every 20 s (`filelock.SoftFileLease`). It is
made by exclusive creation, which network file systems keep too; a kernel's lock (flock) would not hold between the
machines of some of them, and fails on others. On one machine the lock ends with its process. One whose process is on
another machine, or in another container, is taken over when nothing has touched it for `LEASE` seconds.
"""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import SoftFileLease, Timeout

NAME = ".lock"
LEASE = 60.0


@contextmanager
def claimed(directory: Path, patience: float = 0.0) -> Iterator[None]:
    """The directory, made if need be, for this process alone. FileExistsError names the process that has it, if it
    still does after `patience` seconds; OSError if the directory cannot be written to."""
    made = not directory.exists()
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if not os.access(directory, os.W_OK):
            raise PermissionError("permission denied")
    except OSError as error:
        raise OSError(f"cannot write to {directory} ({error.strerror or error}): choose another --out") from error
    lease = SoftFileLease(directory / NAME, lease_duration=LEASE, on_compromise=_lost, timeout=0)
    _acquire(lease, directory, patience)
    try:
        yield
    finally:
        lease.release()
        if made:
            with suppress(OSError):  # it holds something
                directory.rmdir()


def _acquire(lease: SoftFileLease, directory: Path, patience: float) -> None:
    try:
        lease.acquire(timeout=patience)
        return
    except Timeout:
        owner = holder(directory)
    if owner.get("host") != _this_host() or _zombie(owner.get("pid", "")):
        print(f"note: {directory} is locked by {_words(owner)}: waiting for a sign of its life", file=sys.stderr)
        with suppress(Timeout):
            lease.acquire(timeout=1.5 * LEASE)
            return
    raise FileExistsError(f"{directory} is in use by {_words(owner)}: wait for it or stop it")


def holder(directory: Path) -> dict[str, str]:
    """What the lock says, `pid` and `host`; nothing if it is gone."""
    try:
        lines = (directory / NAME).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    return {key: value for key, _, value in (line.partition("=") for line in lines)}


def _words(holder: dict[str, str]) -> str:
    if not holder:
        return "another process"
    return f"process {holder.get('pid', '?')} on {holder.get('host', '?').partition('?')[0] or 'another machine'}"


def _zombie(pid: str) -> bool:
    """Whether the process has ended, and whoever started it has not asked how: in a container, perhaps never will."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return False


def _this_host() -> str | None:
    """As locks name this machine, or this container."""
    with tempfile.TemporaryDirectory() as folder, SoftFileLease(Path(folder) / NAME):
        return holder(Path(folder)).get("host")


def _lost(lease: Any) -> None:
    """Called by the thread that touches the lock, if it is gone: this process was asleep, the file system was away, or
    someone removed it. Another process may be writing here by now, so this one ends at once and saves nothing."""
    lost = f"leanformer: {lease.lock_file} is no longer held by this process (it slept, or its disk was away)"
    print(f"{lost}: ending without saving; go on from the last checkpoint", file=sys.stderr, flush=True)
    os._exit(2)
