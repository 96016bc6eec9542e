"""Decoding of a file, compressed or not, or of standard input, into blocks and lines of text.

Text is UTF-8. Every error gives the position of the invalid bytes, by byte and by line, as an editor counts lines: from
1, with `\\n`, `\\r\\n` or a single `\\r` at the end of each.
"""

import bz2
import codecs
import gzip
import io
import lzma
import shlex
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

BLOCK = 1 << 20
STANDARD_INPUT = "standard input"
COMPRESSED: dict[str, Callable[[BinaryIO], Any]] = {".xz": lzma.open, ".gz": gzip.open, ".bz2": bz2.open}
WIDE = {
    codecs.BOM_UTF32_LE: "UTF-32",  # before UTF-16, with whose mark it begins
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}

Advance = Callable[[int], None]
"""Called with the number of further bytes of a file (as stored) that have been read."""


def decoded(path: Path, advance: Advance = lambda _: None) -> Iterator[str]:
    """Yields blocks of the file's text, without a byte-order mark and with \\n as every line end."""
    return _Decoder(str(path), path.name).blocks(_blocks(path, advance))


def standard_input() -> Iterator[str]:
    """Yields blocks of the text from standard input, read as a file is."""
    if sys.stdin is None:
        raise ValueError(f"{STANDARD_INPUT} is closed: pipe text into it, or name a file")
    return _Decoder(STANDARD_INPUT, "").blocks(iter(lambda: sys.stdin.buffer.read(BLOCK), b""))


def lines(blocks: Iterable[str]) -> Iterator[str]:
    """Yields the lines of a text without their ends; memory grows only with the longest line."""
    parts: list[str] = []
    for block in blocks:
        first, *others = block.split("\n")
        parts.append(first)
        if others:
            yield "".join(parts)
            yield from others[:-1]
            parts = others[-1:]
    if rest := "".join(parts):
        yield rest


def kind(path: Path) -> str:
    """Returns the suffix of the file's format in lower case, without that of its compression."""
    return (path.with_suffix("") if path.suffix.lower() in COMPRESSED else path).suffix.lower()


@dataclass
class _Decoder:
    """A decoder that counts bytes and lines; `file` is the name in the suggested command, "" for standard input."""

    name: str
    file: str
    offset: int = 0
    line: int = 1
    last: bytes = b""
    """The byte before the next block."""

    def blocks(self, blocks: Iterable[bytes]) -> Iterator[str]:
        decode = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder("utf-8-sig")(), translate=True).decode
        for block in chain(blocks, [b""]):
            self._check(block)
            try:
                text = decode(block, not block)
            except UnicodeDecodeError as error:
                raise self._not_utf8(error, len(block)) from None
            yield text
            self.offset += len(block)
            self.line += _line_ends(block, self.last)
            self.last = block[-1:]

    def _check(self, block: bytes) -> None:
        for mark, encoding in WIDE.items() if not self.offset else ():
            if block.startswith(mark):
                raise ValueError(f"{self.name}: {encoding}, not UTF-8; {self._remedy(encoding)}")
        if (zero := block.find(0)) >= 0:
            line = self.line + _line_ends(block[:zero], self.last)
            place = f"a NUL byte at byte {self.offset + zero}, line {line}"
            raise ValueError(f"{self.name}: binary, not text: {place}; text must be UTF-8")

    def _not_utf8(self, error: UnicodeDecodeError, size: int) -> ValueError:
        # The bytes that failed may begin in the block before this one, or after the byte-order mark.
        early = len(error.object) - size
        line = self.line + _line_ends(error.object[: error.start], self.last)
        place = f"byte {self.offset - early + error.start}, line {line} (byte 0x{error.object[error.start]:02x})"
        return ValueError(f"{self.name}: not UTF-8 at {place}; {self._remedy('LATIN1')}")

    def _remedy(self, encoding: str) -> str:
        return f"convert it, for example: iconv -f {encoding} -t UTF-8 {shlex.quote(self.file) if self.file else '-'}"


def _line_ends(data: bytes, last: bytes) -> int:
    """The number of lines that end in `data`; a \\n after `last` = \\r belongs to a line end already counted."""
    ends = data.count(b"\n") + data.count(b"\r") - data.count(b"\r\n")
    return ends - (last == b"\r" and data.startswith(b"\n"))


def _blocks(path: Path, advance: Advance) -> Iterator[bytes]:
    """Yields the file's decompressed bytes."""
    packing = path.suffix.lower()
    with path.open("rb") as raw, COMPRESSED.get(packing, nullcontext)(raw) as file:
        seen = 0
        while block := _read(file, path, packing):
            if raw.seekable():  # a pipe has no position
                position = raw.tell()
                advance(position - seen)
                seen = position
            yield block


def _read(file: BinaryIO, path: Path, packing: str) -> bytes:
    try:
        return file.read(BLOCK)
    except EOFError as error:
        raise ValueError(f"{path}: truncated: the {packing} data end too early; copy or download it again") from error
    except (lzma.LZMAError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path}: damaged, or no {packing} file ({error})") from error
    except OSError as error:
        if packing == ".bz2" and error.errno is None:
            raise ValueError(f"{path}: damaged, or no .bz2 file ({error})") from error
        raise
