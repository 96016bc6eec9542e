"""A directory that appears whole or not at all."""

import glob
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def staged(out: Path) -> Iterator[Path]:
    """A hidden directory beside `out` to be filled in. It becomes `out` in one step if the block ends well, and is
    removed if not; what a killed process left behind is removed by the next one.

    FileExistsError if `out` holds anything. An OSError from writing names `out`, not the hidden directory.
    """
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise FileExistsError(f"{out}: there is something here already; choose another place, or remove it first")
    prefix = f".{out.name}.partial-{socket.gethostname()}-"
    partial = out.with_name(f"{prefix}{os.getpid()}")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        for leftover in out.parent.glob(f"{glob.escape(prefix)}*"):
            if not _alive(leftover.name.removeprefix(prefix)):
                shutil.rmtree(leftover, ignore_errors=True)
        partial.mkdir()
        yield partial
        for file in filter(Path.is_file, partial.rglob("*")):
            _flush(file)
        if out.exists():
            out.rmdir()
        os.replace(partial, out)
    except OSError as error:
        if error.errno is None or (error.filename is not None and not str(error.filename).startswith(str(partial))):
            raise
        reason = f"{error.strerror}; nothing was kept: make room there or choose another place"
        raise OSError(error.errno, reason, str(out)) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _alive(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, ValueError):
        return False
    except PermissionError:
        return True
    return int(pid) != os.getpid()


def _flush(file: Path) -> None:
    with file.open("rb+") as opened:
        os.fsync(opened.fileno())
