"""Carry a data directory, and tasks, to a machine without a network: compressed, in pieces of a few tens of megabytes.

    python benchmarks/gpu/pack.py DATA --out SHARDS [--tasks DIR --only sst2,rte] [--megabytes 55]
    python benchmarks/gpu/pack.py --unpack SHARDS --work WORK

The pieces are one tar, cut: cat SHARDS/piece-* | tar x. In it are data/NAME.xz for every file of DATA, and
tasks/TASK/FILE as they are (those are compressed already). Token ids compress as pairs of bytes: a position in LZMA is
known modulo two. `shards.json` holds every piece's sha256. Pieces may arrive one by one, in any number of calls:
WORK/pieces keeps them until all are there, then WORK/data and WORK/tasks appear.
"""

import argparse
import io
import json
import lzma
import shutil
import tarfile
from pathlib import Path

from leanformer import files

INDEX, LARGEST = "shards.json", 55_000_000
PAIRS = [{"id": lzma.FILTER_LZMA2, "preset": 6, "lc": 3, "lp": 1, "pb": 1}]
"""Two bytes a token."""


def pack(
    data: Path, out: Path, tasks: Path | None = None, only: list[str] | None = None, size: int = 55_000_000
) -> int:
    """Write the pieces of at most `size` bytes into `out`, a new folder; how many there are."""
    out.mkdir(parents=True)
    whole = out / "whole.tar"
    with tarfile.open(whole, "w") as tar:
        for file in sorted(path for path in data.iterdir() if path.is_file()):
            filters = PAIRS if file.suffix == ".bin" else None
            _add(tar, f"data/{file.name}.xz", lzma.compress(file.read_bytes(), filters=filters))
        for file in sorted(tasks.rglob("*")) if tasks else ():
            name = file.relative_to(tasks)
            if file.is_file() and (only is None or name.parts[0] in only):
                _add(tar, f"tasks/{name.as_posix()}", file.read_bytes())
    index = {}
    with whole.open("rb") as file:
        while piece := file.read(size):
            name = f"piece-{len(index):03d}"
            (out / name).write_bytes(piece)
            index[name] = files.sha256_of(piece)
    whole.unlink()
    (out / INDEX).write_text(json.dumps(index, indent=1) + "\n")
    return len(index)


def unpack(shards: Path, work: Path) -> list[str]:
    """Take in the pieces that are there; the names of those still missing. With none missing WORK/data is whole.

    ValueError if a piece is damaged, or belongs to other data than WORK holds.
    """
    index = json.loads((shards / INDEX).read_text())
    pieces, ours = work / "pieces", work / INDEX
    if ours.exists() and json.loads(ours.read_text()) != index:
        raise ValueError(f"{work} holds other data than {shards}: choose another --work, or remove it")
    if (work / "data").is_dir():
        return []
    pieces.mkdir(parents=True, exist_ok=True)
    files.write_json(ours, index)
    for name, expected in index.items():
        if (shards / name).is_file() and not (pieces / name).exists():
            content = (shards / name).read_bytes()
            if files.sha256_of(content) != expected:
                raise ValueError(f"{shards / name} is damaged: pack the data again")
            with files.new_file(pieces / name) as whole:
                whole.write_bytes(content)
    missing = [name for name in index if not (pieces / name).exists()]
    if not missing:
        _extract(b"".join((pieces / name).read_bytes() for name in index), work)
        shutil.rmtree(pieces)
    return missing


def _extract(content: bytes, work: Path) -> None:
    """WORK/data comes last: where it is, everything is."""
    with files.new_directory(work / "data") as data:
        with tarfile.open(fileobj=io.BytesIO(content)) as tar:
            tar.extractall(data, filter="data")
        for file in (data / "data").iterdir():
            with lzma.open(file) as packed, (data / file.stem).open("wb") as plain:
                shutil.copyfileobj(packed, plain)
        shutil.rmtree(data / "data")
        if (data / "tasks").is_dir():
            with files.new_directory(work / "tasks") as tasks:
                shutil.copytree(data / "tasks", tasks, dirs_exist_ok=True)
            shutil.rmtree(data / "tasks")


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", nargs="?", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--tasks", type=Path, help="A folder with a folder a task.")
    parser.add_argument("--only", help="Of the tasks, these.")
    parser.add_argument("--megabytes", type=float, default=55)
    parser.add_argument("--unpack", type=Path, metavar="SHARDS")
    parser.add_argument("--work", type=Path)
    options = parser.parse_args()
    if options.unpack and options.work:
        missing = unpack(options.unpack, options.work)
        print(f"waiting for {', '.join(missing)}" if missing else f"{options.work / 'data'} is whole")
    elif options.data and options.out:
        only = options.only.split(",") if options.only else None
        count = pack(options.data, options.out, options.tasks, only, int(options.megabytes * 1e6))
        print(f"{count} pieces in {options.out}")
    else:
        parser.error("give DATA --out SHARDS, or --unpack SHARDS --work WORK")


if __name__ == "__main__":
    main()
