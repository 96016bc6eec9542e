"""From the bytes of a file, compressed or not, to blocks of text, with errors that say where the file is bad."""

import bz2
import codecs
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any, BinaryIO

BLOCK = 1 << 20

COMPRESSED: dict[str, Callable[[BinaryIO], Any]] = {".xz": lzma.open, ".gz": gzip.open, ".bz2": bz2.open}


def decoded(path: Path, advance: Callable[[int], None]) -> Iterator[str]:
    """Blocks of the file's text: UTF-8 (a byte-order mark is dropped), every line end a \\n."""
    decode = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder("utf-8-sig")(), translate=True).decode
    offset = lines = 0
    for block in _blocks(path, advance):
        if (zero := block.find(0)) >= 0:
            raise ValueError(f"{path}: binary, not text: a NUL byte at byte {offset + zero}; text must be UTF-8")
        yield _decode(decode, block, path, offset, lines)
        offset += len(block)
        lines += block.count(b"\n")
    yield _decode(decode, b"", path, offset, lines, final=True)


def _decode(decode: Callable, block: bytes, path: Path, offset: int, lines: int, final: bool = False) -> str:
    try:
        return decode(block, final)
    except UnicodeDecodeError as error:
        # The decoder's buffer begins with the bytes of a character that the block before this one left unfinished.
        place = offset - (len(error.object) - len(block)) + error.start
        line = lines + 1 + error.object[: error.start].count(b"\n")
        raise ValueError(
            f"{path}: not UTF-8 at byte {place}, line {line} (byte 0x{error.object[error.start]:02x}); "
            f"convert it, for example: iconv -f LATIN1 -t UTF-8 {path.name}"
        ) from None


def _blocks(path: Path, advance: Callable[[int], None]) -> Iterator[bytes]:
    """The file's bytes, unpacked."""
    kind = path.suffix.lower()
    with path.open("rb") as raw, COMPRESSED.get(kind, nullcontext)(raw) as file:
        seen = 0
        while block := _read(file, path, kind):
            position = raw.tell()
            advance(position - seen)
            seen = position
            yield block


def _read(file: BinaryIO, path: Path, kind: str) -> bytes:
    try:
        return file.read(BLOCK)
    except EOFError as error:
        raise ValueError(f"{path}: truncated: the {kind} data end too early; copy or download it again") from error
    except (lzma.LZMAError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path}: damaged, or no {kind} file ({error})") from error
    except OSError as error:
        if kind == ".bz2" and error.errno is None:
            raise ValueError(f"{path}: damaged, or no .bz2 file ({error})") from error
        raise
