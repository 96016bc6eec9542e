"""From files and data sets to documents: a stream of strings, whose memory does not grow with the corpus.

A source is
    a file        .jsonl or .json (one JSON object a line), .parquet, any other suffix plain text; all but parquet
                  also compressed, with .xz, .gz or .bz2 appended
    a folder      its .txt, .jsonl, .json and .parquet files in the order of their names, sub-folders included
    hf:NAME       a Hugging Face data set, hf:NAME[:CONFIG[:SPLIT]] (split `train` by default), streamed; `hf:` may be
                  left out of USER/NAME where no such path exists
    a data set    the folder of one split that `save_to_disk` of Hugging Face's datasets wrote, memory-mapped
    shipped:NAME  a text that comes with leanformer (`shipped:novels`)

In plain text blank lines separate documents; one of more than 4 M characters is cut at a line end. JSON, parquet and
data sets hold a document a row, in the field `text` or another one that is named.
"""

import json
import re
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path
from typing import Any

from leanformer.data.decoding import COMPRESSED, decoded

Advance = Callable[[int], None]
"""Told how many more bytes of a file (as stored) have been read."""

JSON_SUFFIXES = (".jsonl", ".json")
SUFFIXES = (".txt", *JSON_SUFFIXES, ".parquet")
LONGEST = 4_000_000
BLANK_LINES = re.compile(r"\n(?:[^\S\n]*\n)+")
DATA_SET = "dataset_info.json"
SPLITS = "dataset_dict.json"
"""What `save_to_disk` writes into the folder of a split, and into the one above."""
HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+(:[\w.-]+){0,2}")


def files(source: str | Path) -> list[Path] | None:
    """The files of a source, None for a data set; a source that is neither is an error."""
    name = str(source)
    if name.startswith("shipped:"):
        return [shipped(name.removeprefix("shipped:"))]
    path = Path(source)
    if (path / DATA_SET).is_file():
        return None
    if path.is_dir():
        if (path / SPLITS).is_file():
            splits = " or ".join(str(folder.parent) for folder in sorted(path.glob(f"*/{DATA_SET}")))
            raise ValueError(f"{path}: a data set of several splits; name one: {splits}")
        found = sorted(file for file in path.rglob("[!.]*") if file.is_file() and suffix(file) in SUFFIXES)
        if not found:
            raise FileNotFoundError(f"{path}: no text in this folder; known suffixes: {', '.join(SUFFIXES)}")
        return found
    if path.exists():
        return [path]
    if name.startswith("hf:") or (HUB_NAME.fullmatch(name) and suffix(path) == "" and not path.parent.is_dir()):
        return None
    raise FileNotFoundError(f"{path}: no such file; a Hugging Face data set is written hf:NAME")


def documents(source: str | Path, field: str = "text", advance: Advance = lambda _: None) -> Iterator[str]:
    """The documents of a source in order, none of them empty. ValueError with file and place if it cannot be read."""
    if (paths := files(source)) is None:
        yield from _hub_texts(str(source), field)
        return
    for path in paths:
        if not path.stat().st_size:
            raise ValueError(f"{path}: the file is empty")
        empty = True
        for document in _reader(path)(path, field, advance):
            if document := document.strip():
                empty = False
                yield document
        if empty:
            raise ValueError(f"{path}: no text in it, only white space")


def shipped(name: str = "novels") -> Path:
    """Where a text that comes with the package lies."""
    folder = Path(str(resources.files("leanformer.data"))) / "texts"
    path = folder / f"{name}.txt.xz"
    if not path.is_file():
        known = ", ".join(sorted(file.name.removesuffix(".txt.xz") for file in folder.glob("*.txt.xz")))
        raise FileNotFoundError(f"shipped:{name}: no such text comes with leanformer; known: {known}")
    return path


def suffix(path: Path) -> str:
    """What the file holds, whatever it is compressed with."""
    return (path.with_suffix("") if path.suffix.lower() in COMPRESSED else path).suffix.lower()


def _reader(path: Path) -> Callable[[Path, str, Advance], Iterator[str]]:
    if suffix(path) == ".parquet":
        return _parquet_rows
    return _json_rows if suffix(path) in JSON_SUFFIXES else _passages


def _passages(path: Path, _field: str, advance: Advance) -> Iterator[str]:
    rest = ""
    for block in decoded(path, advance):
        *complete, rest = BLANK_LINES.split(rest + block)
        yield from complete
        while len(rest) > LONGEST:
            cut = max(rest.rfind("\n", 1, LONGEST), 0) or max(rest.rfind(" ", 1, LONGEST), 0) or LONGEST
            yield rest[:cut]
            rest = rest[cut:]
    yield rest


def lines(path: Path, advance: Advance = lambda _: None) -> Iterator[str]:
    """The lines of a text, without their ends."""
    rest = ""
    for block in decoded(path, advance):
        *complete, rest = (rest + block).split("\n")
        yield from complete
    if rest:
        yield rest


def _json_rows(path: Path, field: str, advance: Advance) -> Iterator[str]:
    for number, line in enumerate(lines(path, advance), 1):
        if line and not line.isspace():
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise ValueError(f"{path}, line {number}: not JSON ({error}); one object a line is expected") from None
            text = _text(row, field, f"{path}, line {number}")
            # JSON can spell half a surrogate pair, which is no character, and no tokenizer would take it.
            yield text.encode("utf-16", "surrogatepass").decode("utf-16", "replace") if "\\u" in line else text


def _parquet_rows(path: Path, field: str, advance: Advance) -> Iterator[str]:
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            if field not in file.schema_arrow.names:
                _text(dict.fromkeys(file.schema_arrow.names), field, str(path))
            row = 0
            for group in range(file.num_row_groups):
                for batch in file.iter_batches(batch_size=256, row_groups=[group], columns=[field]):
                    for value in batch.column(0).to_pylist():
                        row += 1
                        yield _text({field: value}, field, f"{path}, row {row}")
                advance(path.stat().st_size // file.num_row_groups)
    except pyarrow.ArrowException as error:
        raise ValueError(f"{path}: damaged, or no parquet file ({str(error).splitlines()[0]})") from error


def _hub_texts(source: str, field: str) -> Iterator[str]:
    for place, row in hub_rows(source):
        if document := _text(row, field, place).strip():
            yield document


def hub_rows(source: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """(place, row) of a data set, streamed from the hub or memory-mapped from its folder."""
    import datasets

    name, config, split, *_ = [*source.removeprefix("hf:").split(":"), "", ""]
    split = split or "train"
    try:
        if (Path(source) / DATA_SET).is_file():
            rows = datasets.load_from_disk(source)
        else:
            rows = datasets.load_dataset(name, config or None, split=split, streaming=True)
    except Exception as error:
        # Network, name, split, format: whatever goes wrong in there, this is what it means here.
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(f"{source}: no file, and no Hugging Face data set that can be loaded ({reason})") from error
    number = 0
    for number, row in enumerate(rows, 1):
        yield f"{source}, row {number}", row
    if not number:
        raise ValueError(f"{source}: the {split} split is empty")


def _text(row: Any, field: str, place: str) -> str:
    if not isinstance(row, dict):
        raise ValueError(f"{place}: a JSON object is expected, not {type(row).__name__}")
    if field not in row:
        raise ValueError(f"{place}: no field {field!r}; name another one, known: {', '.join(row) or 'none'}")
    if not isinstance(row[field], str):
        raise ValueError(f"{place}: field {field!r} is {type(row[field]).__name__}, not text")
    return row[field]
