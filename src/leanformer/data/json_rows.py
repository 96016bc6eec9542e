"""A streaming reader of the objects of a JSON file: one per line, or the elements of an array."""

import json
import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from leanformer.data.decoding import lines
from leanformer.data.half_pairs import without_half_pairs

Row = dict[str, Any]

SPACE = re.compile(r"[ \t\n\r]*")
HALF_PAIR = re.compile(r"\\u[dD][89a-fA-F]")
DECODER = json.JSONDecoder()
EXPECTED = "one object per line, or one array of objects, is expected"
LONGEST_TOKEN = 16
"""A token other than a string that fails this close to the end of the window may only be incomplete."""


def read(texts: Iterator[str], path: Path) -> Iterator[tuple[int, Row]]:
    """Yields (line where it begins, object) of every object; raises ValueError with the line for anything else."""
    head: list[str] = []
    for text in texts:
        head.append(text)
        if text.strip():
            break
    texts = chain(head, texts)
    return _array(_Window(texts, path)) if head and head[-1].lstrip()[:1] == "[" else _lines(texts, path)


def _lines(texts: Iterator[str], path: Path) -> Iterator[tuple[int, Row]]:
    for number, line in enumerate(lines(texts), 1):
        if line and not line.isspace():
            place = f"{path}, line {number}"
            try:
                value = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise _not_json(place, error) from None
            yield number, _object(value, line, place)


def _array(window: "_Window") -> Iterator[tuple[int, Row]]:
    window.expect("[")
    while window.next() != "]":
        yield window.line, window.object()
        if window.next() != "]":
            window.expect(",")
            if window.next() == "]":
                raise window.error("a comma before the end of the array")
    window.expect("]")
    if window.next():
        raise window.error("text after the end of the array")


class _Window:
    """A part of the text that holds at least the current element; earlier text is dropped.

    Whenever it is too short, its length is doubled, so that the time is linear in the length of an element.
    """

    def __init__(self, texts: Iterator[str], path: Path) -> None:
        self.texts, self.path = texts, path
        self.text, self.at, self.line, self.ended = "", 0, 1, False

    def next(self) -> str:
        """Returns the next character that is not white space; "" at the end of the file."""
        while True:
            self._go(SPACE.match(self.text, self.at).end())  # type: ignore[union-attr]  # it matches anything
            if self.at < len(self.text) or self.ended:
                return self.text[self.at : self.at + 1]
            self._more()

    def expect(self, character: str) -> None:
        if (found := self.next()) != character:
            raise self.error(f"{found!r} where {character!r} is expected" if found else "the array does not end")
        self._go(self.at + 1)

    def object(self) -> Row:
        """Returns the next value, which must be an object."""
        while True:
            try:
                value, end = DECODER.raw_decode(self.text, self.at)
                break
            except json.JSONDecodeError as error:
                cut = error.msg.startswith("Unterminated string") or error.pos > len(self.text) - LONGEST_TOKEN
                if self.ended or not cut:
                    place = f"{self.path}, line {self.line + self.text.count(chr(10), self.at, error.pos)}"
                    raise _not_json(place, error) from None
            except (ValueError, RecursionError) as error:
                raise self.error(_reason(error)) from None
            self._more()
        row = _object(value, self.text[self.at : end], f"{self.path}, line {self.line}")
        self._go(end)
        return row

    def error(self, reason: str) -> ValueError:
        return ValueError(f"{self.path}, line {self.line}: not JSON ({reason}): {EXPECTED}")

    def _go(self, at: int) -> None:
        self.line += self.text.count("\n", self.at, at)
        self.at = at

    def _more(self) -> None:
        parts = [self.text[self.at :]]
        wanted = max(1, len(parts[0]))
        while wanted > 0 and not self.ended:
            text = next(self.texts, None)
            self.ended = text is None
            parts.append(text or "")
            wanted -= len(parts[-1])
        self.text, self.at = "".join(parts), 0


def _object(value: Any, text: str, place: str) -> Row:
    if not isinstance(value, dict):
        raise ValueError(f"{place}: a JSON object is expected, not {type(value).__name__}")
    try:
        return without_half_pairs(value) if HALF_PAIR.search(text) else value
    except RecursionError as error:
        raise _not_json(place, error) from None


def _not_json(place: str, error: Exception) -> ValueError:
    return ValueError(f"{place}: not JSON ({_reason(error)}): {EXPECTED}")


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "nested too deeply"
    return error.msg if isinstance(error, json.JSONDecodeError) else str(error).partition(";")[0]
