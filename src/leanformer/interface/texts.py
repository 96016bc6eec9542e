"""What a caller means by texts: documents that are in memory, or files and data sets that are to be read.

    Path                            a file or a folder; Path("-") is standard input, for `predict` and `embed`
    a string                        a file, a folder or a pattern of files that exist, a URL, `hf:NAME` or
                                    `shipped:NAME`, and nothing else
    a list or tuple of strings      documents, if none of them is such a name; sources, if all of them are
    a column or table of pandas or of Hugging Face's datasets      documents, whatever their text is

Anything between these is refused, since a misspelt path would be trained on as a text of one word.
"""

import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from glob import glob, has_magic
from pathlib import Path
from typing import Any

from leanformer.data.decoding import kind
from leanformer.data.in_memory import InMemory
from leanformer.data.readers import SUFFIXES, Source
from leanformer.data.remote import is_url

SCHEMES = ("hf:", "shipped:")
LONGEST_PATH = 4096
"""The most characters of a path; a longer string is a text."""
SHOWN = 40
"""The characters of a text that a message shows."""


def sources(texts: Any, argument: str = "texts", *, rows: bool = False) -> list[Source]:
    """Returns the sources that `texts` stands for; `argument` is its name in messages.

    With `rows` an element may also have several columns, as a tuple or a mapping. Raises ValueError for what could mean
    two things, and FileNotFoundError for a string that looks like the name of a file and is none.
    """
    if isinstance(texts, Path | InMemory):
        return [texts]
    if isinstance(texts, str):
        return [_named(texts, argument)]
    if (table := _table(texts, argument)) is not None:
        return [table]
    if isinstance(texts, Mapping) or not isinstance(texts, Sequence) or isinstance(texts, bytes | bytearray):
        what = type(texts).__name__
        remedy = "name one of its splits" if isinstance(texts, Mapping) else "give a path, or a list of texts or paths"
        raise ValueError(f"{argument} is a {what}: {remedy}")
    return _listed(list(texts), argument, rows)


def _named(text: str, argument: str) -> str:
    if _is_source(text):
        return text
    remedy = f"for a file check its path; a text of your own goes into a list, {argument}=[...]"
    raise FileNotFoundError(f"{argument} = {_shown(text)}: a single string names a file, and there is none: {remedy}")


def _listed(elements: list[Any], argument: str, rows: bool) -> list[Source]:
    if not elements:
        raise ValueError(f"{argument} is empty: give at least one text or path")
    if rows and all(isinstance(each, tuple | Mapping) for each in elements):
        return [InMemory(elements, _count(len(elements), "rows"))]
    for number, each in enumerate(elements, 1):
        if not isinstance(each, str | Path):
            raise ValueError(f"{argument}, number {number}: it is {type(each).__name__}, neither a text nor a path")
    named = [isinstance(each, Path) or _is_source(each) for each in elements]
    if all(named):
        return elements
    if any(named):
        source, text = elements[named.index(True)], elements[named.index(False)]
        raise ValueError(
            f"{argument} mixes {_shown(str(source))}, which names a source, with {_shown(text)}, which does not: give "
            "paths alone, or texts alone (a column of pandas or datasets is always texts)"
        )
    for text in elements:
        if _looks_like_a_file(text):
            raise FileNotFoundError(f"{argument}: {_shown(text)} looks like a file, and there is none: check its path")
    return [InMemory(elements, _count(len(elements), "texts"))]


def _is_source(text: str) -> bool:
    """Whether the string names something that can be read; a text with a line break or a NUL never does."""
    if len(text) > LONGEST_PATH or not text.strip() or re.search(r"[\n\r\0]", text):
        return False
    if len(text.split()) == 1 and (is_url(text) or (has_magic(text) and glob(text, recursive=True))):
        return True
    return text.startswith(SCHEMES) or os.path.exists(text)


def _looks_like_a_file(text: str) -> bool:
    """Whether it is one word with the suffix of a text."""
    return len(text.split()) == 1 and len(text) < LONGEST_PATH and kind(Path(text)) in SUFFIXES


def _table(texts: Any, argument: str) -> InMemory | None:
    """Returns a column or a table of a library that has been imported, as it must have been to make one."""
    if (pandas := sys.modules.get("pandas")) is not None:
        if isinstance(texts, pandas.Series | pandas.Index):
            return InMemory(_filled(texts, argument), _count(len(texts), "texts"))
        if isinstance(texts, pandas.DataFrame):
            return InMemory(_Rows(_filled(texts, argument)), _count(len(texts), "rows"))
    if (datasets := sys.modules.get("datasets")) is not None:
        if isinstance(texts, datasets.Dataset):
            return InMemory(_filled(texts, argument), _count(len(texts), "rows"))
        if isinstance(texts, datasets.IterableDataset):
            return InMemory(texts, "a data set in memory")
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(texts, numpy.ndarray) and texts.ndim == 1:
        return InMemory(_filled(texts.tolist(), argument), _count(len(texts), "texts"))
    return None


def _filled(table: Any, argument: str) -> Any:
    if not len(table):
        raise ValueError(f"{argument} is empty: give at least one text or path")
    return table


class _Rows:
    """The rows of a table of pandas as mappings, which can be read again and again."""

    def __init__(self, frame: Any) -> None:
        self._frame = frame

    def __iter__(self) -> Iterator[dict[str, Any]]:
        names = [str(name) for name in self._frame.columns]
        return (dict(zip(names, row, strict=True)) for row in self._frame.itertuples(index=False, name=None))


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun if number != 1 else noun.removesuffix('s')} in memory"


def _shown(text: str) -> str:
    return repr(text if len(text) <= SHOWN else text[:SHOWN] + "...")
