"""A prepared data directory, which `prepare` returns and the functions that train take."""

from functools import cached_property
from pathlib import Path
from typing import Any

from leanformer.data.corpus import read_record


class Data:
    """The data directory at `path`.

    `record` is the content of its data.json: the sizes of the parts, the vocabulary, the settings and the notes.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.record  # noqa: B018  (what is no data directory is refused here)

    @cached_property
    def record(self) -> dict[str, Any]:
        return read_record(self.path)

    def __fspath__(self) -> str:
        return str(self.path)

    def __repr__(self) -> str:
        sizes = ", ".join(f"{part} {_size(of)}" for part, of in self.record["splits"].items())
        return f"Data({str(self.path)!r}): {sizes}; a vocabulary of {self.record['vocabulary']['size']:,}"


def _size(of: dict[str, Any]) -> str:
    """Returns the size of a part of text, or of pairs."""
    noun = "tokens" if "tokens" in of else "pairs"
    return f"{of.get(noun, 0):,} {noun}"


def directory_of(data: Any) -> Path:
    """Returns the directory of prepared data; raises ValueError for what is to be prepared first."""
    if isinstance(data, Data | str | Path):
        return Path(data)
    raise ValueError(f"data is a {type(data).__name__}, not prepared: data = leanformer.prepare(texts, out=DIRECTORY)")
