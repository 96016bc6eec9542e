"""Readers of documents from files and data sets, as a stream of strings whose memory does not grow with the corpus.

A source is
    a file        a table (.jsonl, .json, .csv, .tsv, .parquet: see `tables.py`), or plain text with any other suffix;
                  all but parquet may be compressed, with .xz, .gz or .bz2 appended; suffixes are in any case
    a folder      its .txt files and tables in the order of their names, sub-folders included
    hf:NAME       a Hugging Face data set, hf:NAME[:CONFIG[:SPLIT]] (split `train` by default), streamed; `hf:` may be
                  omitted before USER/NAME if no such path exists
    URL           files that fsspec reaches, s3://BUCKET/PATH, gs://, https:// and others, also with * in the path;
                  each is copied to a temporary folder while it is read (`remote.py`)
    a pattern     files of this machine by *, ? and **, in the order of their names
    a data set    the folder of one split that `save_to_disk` of Hugging Face's datasets wrote, memory-mapped
    shipped:NAME  a text that comes with leanformer (`shipped:novels`)
    `InMemory`    texts that the caller holds

Plain text is separated into documents by blank lines, or has one document per line. Tables and data sets hold one
document per row, in the field `text` or another given field. A document of more than 4 M characters is cut, at a line
end or a space if there is one.
"""

import glob
import re
from collections.abc import Iterable, Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from leanformer.data import remote, tables
from leanformer.data.decoding import Advance, decoded, kind
from leanformer.data.in_memory import InMemory
from leanformer.errors import reason
from leanformer.spelling import suggest

Source = str | Path | InMemory
SUFFIXES = (".txt", *tables.TABLES)
LONGEST = 4_000_000
SEPARATORS = {"blank-lines": re.compile(r"\n(?:[^\S\n]*\n)+"), "lines": re.compile(r"\n")}
"""The separators of documents in plain text."""
DATA_SET = "dataset_info.json"
SPLITS = "dataset_dict.json"
"""The files that `save_to_disk` writes into the folder of a split, and into its parent."""
HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+(:[\w.-]+){0,2}")


def files(source: Source) -> list[Path] | None:
    """Returns the files of a source that lie on this machine, None for one that has none; raises an error if it is no
    source."""
    if isinstance(source, InMemory):
        return None
    name = str(source)
    if remote.is_url(name):
        remote.urls(name)
        return None
    if name.startswith("shipped:"):
        return [shipped(name.removeprefix("shipped:"))]
    path = Path(source)
    if (path / DATA_SET).is_file():
        return None
    if path.is_dir():
        if (path / SPLITS).is_file():
            splits = " or ".join(str(folder.parent) for folder in sorted(path.glob(f"*/{DATA_SET}")))
            raise ValueError(f"{path}: a data set of several splits; name one: {splits}")
        found = sorted(file for file in path.rglob("[!.]*") if file.is_file() and kind(file) in SUFFIXES)
        if not found:
            raise FileNotFoundError(f"{path}: no text in this folder; known suffixes: {', '.join(SUFFIXES)}")
        return found
    if path.exists():
        return [path]
    if glob.has_magic(name):
        if matching := sorted(Path(each) for each in glob.glob(name, recursive=True) if Path(each).is_file()):
            return matching
        raise FileNotFoundError(f"{name}: no file has such a name")
    if name.startswith("hf:") or (HUB_NAME.fullmatch(name) and kind(path) == "" and not path.parent.is_dir()):
        return None
    if path.is_symlink():
        raise FileNotFoundError(f"{path}: a link to a file that is not there; mend the link")
    raise FileNotFoundError(f"{path}: no such file; a Hugging Face data set is written hf:NAME")


def documents(
    source: Source, field: str = "text", advance: Advance = lambda _: None, separator: str = "blank-lines"
) -> Iterator[str]:
    """Yields the documents of a source in order, none of them empty; `separator` (of `SEPARATORS`) is for plain text.

    Raises ValueError with file and place if the source cannot be read.
    """
    if separator not in SEPARATORS:
        raise ValueError(f"--documents {separator}: {suggest(separator, SEPARATORS)}")
    if isinstance(source, InMemory):
        yield from _stripped(_element(each, field, place) for place, each in source.places())
        return
    if remote.is_url(str(source)):
        for url in remote.urls(str(source)):
            with remote.copied(url) as path:
                yield from _of_a_file(path, field, lambda _: None, separator)
    elif (paths := files(source)) is None:
        yield from _stripped(_text(row, field, place) for place, row in hub_rows(str(source)))
    else:
        for path in paths:
            yield from _of_a_file(path, field, advance, separator)


def _of_a_file(path: Path, field: str, advance: Advance, separator: str) -> Iterator[str]:
    if not path.is_file():
        raise ValueError(f"{path}: no file but a pipe or a device, which cannot be read twice; write it to a file")
    if not path.stat().st_size:
        raise ValueError(f"{path}: the file is empty")
    if kind(path) in tables.TABLES:
        rows = tables.read(path, advance, [field])
        texts: Iterator[str] = (_text(row, field, place) for place, row in rows)
    else:
        texts = _passages(decoded(path, advance), SEPARATORS[separator])
    empty = True
    for document in _stripped(texts):
        empty = False
        yield document
    if empty:
        raise ValueError(f"{path}: no text in it")


def shipped(name: str = "novels") -> Path:
    """Returns the path of a text that comes with the package."""
    folder = Path(str(resources.files("leanformer.data"))) / "texts"
    path = folder / f"{name}.txt.xz"
    if not path.is_file():
        known = ", ".join(sorted(file.name.removesuffix(".txt.xz") for file in folder.glob("*.txt.xz")))
        raise FileNotFoundError(f"shipped:{name}: no such text comes with leanformer; known: {known}")
    return path


def _passages(blocks: Iterable[str], separator: re.Pattern[str]) -> Iterator[str]:
    """Yields the text between separators; memory is bounded by the length at which a document is cut."""
    rest = ""
    for block in blocks:
        *complete, rest = separator.split(rest + block)
        yield from complete
        if len(rest) > LONGEST:
            *pieces, rest = _pieces(rest)
            yield from pieces
    yield rest


def _pieces(text: str) -> Iterator[str]:
    """Yields parts of at most `LONGEST` characters, cut at a line end, else at a space, else anywhere."""
    start = 0
    while len(text) - start > LONGEST:
        first, last = start + 1, start + LONGEST
        cut = max(text.rfind("\n", first, last), 0) or max(text.rfind(" ", first, last), 0) or last
        yield text[start:cut]
        start = cut
    yield text[start:]


def _stripped(texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        for piece in (text,) if len(text) <= LONGEST else _pieces(text):
            if piece := piece.strip():
                yield piece


def hub_rows(source: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields (place, row) of a data set, streamed from the hub or memory-mapped from its folder."""
    import datasets

    name, config, split, *_ = [*source.removeprefix("hf:").split(":"), "", ""]
    split = split or "train"
    try:
        if (Path(source) / DATA_SET).is_file():
            rows = datasets.load_from_disk(source)
        else:
            rows = datasets.load_dataset(name, config or None, split=split, streaming=True)
    except Exception as error:
        # Network, name, split, format: all errors have the same meaning here.
        loadable = "no file, and no Hugging Face data set that can be loaded"
        raise ValueError(f"{source}: {loadable} ({reason(error)})") from error
    number = 0
    try:
        for number, row in enumerate(rows, 1):
            yield f"{source}, row {number}", row
    except Exception as error:
        raise ValueError(f"{source}, row {number + 1}: cannot be read ({reason(error)})") from error
    if not number:
        raise ValueError(f"{source}: the {split} split is empty")


def _element(element: Any, field: str, place: str) -> str:
    """Returns the text of an element in memory."""
    if isinstance(element, Mapping):
        return _text(element, field, place)
    if not isinstance(element, str):
        raise ValueError(f"{place}: it is {type(element).__name__}, not text")
    return element


def _text(row: Mapping[str, Any], field: str, place: str) -> str:
    if field not in row:
        raise ValueError(
            f"{place}: no field {field!r}; name another one with --field (in Python, text), "
            f"known: {', '.join(row) or 'none'}"
        )
    if not isinstance(row[field], str):
        raise ValueError(f"{place}: field {field!r} is {type(row[field]).__name__}, not text")
    return row[field]
