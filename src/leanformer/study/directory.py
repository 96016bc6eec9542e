"""A study's directory and its record: who may write there, and whether a command may go on with what it holds.

The record is written before the first run, and says what was asked. Only one process at a time has the directory.
"""

from collections.abc import Container, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leanformer.files import holdings, write_json
from leanformer.locks import claimed
from leanformer.records import reading
from leanformer.records.difference import difference


@dataclass(frozen=True)
class StudyDirectory:
    path: Path
    name: str
    """The record's file."""
    schema: type[reading.Record]
    what: str
    """What the study is, in messages: "comparison"."""

    @property
    def record(self) -> Path:
        return self.path / self.name

    def read(self) -> dict[str, Any] | None:
        """The record, None if there is none."""
        if not self.record.is_file():
            return None
        return reading.read(self.record, self.schema, "restore it, or give another --out")

    def write(self, record: Mapping[str, Any]) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        write_json(self.record, reading.sealed({"schema": reading.SCHEMA, **record}))

    @contextmanager
    def claimed(self, *, dry_run: bool = False, patience: float = 0.0) -> Iterator[None]:
        """The directory for this process alone, which waits for it for `patience` seconds; a dry run needs none and
        makes none."""
        if dry_run:
            yield
            return
        with claimed(self.path, patience):
            yield

    def require_free(self, but: Container[str] = ()) -> None:
        """FileExistsError if the directory holds anything but names of `but`; the caller found no record."""
        if self.path.exists() and any(name not in but for name in holdings(self.path)):
            raise FileExistsError(f"{self.path} is not empty and holds no {self.what}: give another --out")

    def require_same(
        self,
        before: Mapping[str, Any],
        now: Mapping[str, Any],
        said: str = "was started with",
        free: Container[str] = (),
    ) -> None:
        """ValueError names the first setting in which the study and the command differ, but for the `free` ones."""
        if found := difference(before, dict(sorted(now.items())), free):
            raise ValueError(
                f"{self.path} {said} {found.key} = {found.before!r}, this command says {found.now!r}: "
                "repeat the earlier setting, or give another --out"
            )
