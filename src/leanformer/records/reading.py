"""From a JSON file to a checked record.

A schema is a pydantic model: the type of every field that this package looks at. A record may lack what the schema has
a default for and may hold more than the schema names, so older and newer records can be read. What comes back is the
record as it was parsed, not a copy: checking changes nothing, but for settings, which come under today's names
(`renamed`).

A record that this package reads again carries a checksum, the sha256 of the rest of it,

    checksum = sha256(JSON of the record without "checksum", keys sorted)

so that a flipped bit or a hand's edit is noticed where the value itself looks right. A record without one, from before
there were any, is checked against its schema alone.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from leanformer import files
from leanformer.records.renamed import as_recorded

SCHEMA = 1
CHECKSUM = "checksum"
LONGEST = 80
"""Characters of a wrong value that a message shows."""

Count = Annotated[int, Field(ge=0, lt=2**63)]
Number = float
"""An int passes, NaN and infinity too: a run that diverged records them."""


class Record(BaseModel):
    """The base of all schemas: exact types, unknown fields welcome."""

    model_config = ConfigDict(strict=True, extra="ignore", protected_namespaces=())


def read(path: Path, schema: type[Record], remedy: str) -> dict[str, Any]:
    """The record in `path`, without its checksum. ValueError of one line, which ends in `remedy`, for one that is no
    JSON, does not keep to `schema`, has another schema number or not the checksum it says."""
    record = _parsed(path.read_bytes(), str(path), remedy)
    if not isinstance(record, dict):
        raise ValueError(f"{path} is damaged (no table of names and values): {remedy}")
    if (number := record.get("schema", SCHEMA)) != SCHEMA:
        raise ValueError(f"{path} has schema {_shown(number)}, known here is {SCHEMA}: use a matching leanformer")
    check(record, schema, str(path), remedy)
    recorded = record.pop(CHECKSUM, None)
    if recorded is not None and recorded != _checksum(record):
        raise ValueError(
            f"{path} is damaged (it is not what was written, by its checksum): {remedy}; "
            f"if somebody edited it on purpose, take the line {CHECKSUM!r} out"
        )
    if isinstance(record.get("settings"), dict):
        try:
            record["settings"] = as_recorded(record["settings"])
        except ValueError as error:
            raise ValueError(f"{path} is damaged ({error}): {remedy}") from None
    return record


def read_list(path: Path, schema: type[Record], remedy: str) -> list[dict[str, Any]]:
    """The records of a JSON file that holds a list of them; ValueError as of `read`."""
    records = _parsed(path.read_bytes(), str(path), remedy)
    if not isinstance(records, list):
        raise ValueError(f"{path} is damaged (no list of records): {remedy}")
    for number, record in enumerate(records, start=1):
        check(record, schema, f"{path}, entry {number},", remedy)
    return records


def read_lines(path: Path, schema: type[Record], remedy: str) -> Iterator[dict[str, Any]]:
    """The records of a JSON lines file; a last line that was cut off in writing is not there yet."""
    *lines, last = path.read_bytes().split(b"\n")
    with suppress(ValueError, RecursionError):  # without its line end it may be whole all the same
        lines += [last] if last and isinstance(json.loads(last), dict) else []
    with suppress(ValueError, RecursionError):  # all at once, which is several times as fast as line by line
        records = json.loads(b"[" + b",".join(lines) + b"]")
        if len(records) == len(lines):
            _many(schema).validate_python(records)
            yield from records
            return
    for number, line in enumerate(lines, start=1):
        place = f"{path}, line {number},"
        record = _parsed(line, place, remedy)
        check(record, schema, place, remedy)
        yield record


@cache
def _many(schema: type[Record]) -> TypeAdapter[Any]:
    return TypeAdapter(list[schema])  # type: ignore[valid-type]


def check(record: Any, schema: type[Record], place: str, remedy: str) -> None:
    """ValueError that names the first field of `record` that does not keep to `schema`."""
    if what := problem(record, schema):
        raise ValueError(f"{place} is damaged ({what}): {remedy}")


def problem(record: Any, schema: type[Record]) -> str | None:
    """The first field of `record` that does not keep to `schema`, its value and the rule; None if all do."""
    try:
        schema.model_validate(record)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = ".".join(str(part) for part in first["loc"])
        value = "" if first["type"] == "missing" else f" = {_shown(first['input'])}"
        rule = " ".join(first["msg"].split())
        return f"{name}{value}: {rule[0].lower()}{rule[1:]}" if name else "no table of names and values"
    return None


def sealed(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record with its checksum, as it is written."""
    plain = json.loads(json.dumps(record, ensure_ascii=False))  # what a reader will see: lists for tuples
    return {**plain, CHECKSUM: _checksum(plain)}


def _checksum(record: Mapping[str, Any]) -> str:
    return files.sha256_of(json.dumps(record, sort_keys=True, ensure_ascii=True))


def _parsed(data: bytes, place: str, remedy: str) -> Any:
    try:
        return json.loads(data.decode("utf-8"))
    except RecursionError:
        raise ValueError(f"{place} is damaged (nested too deeply): {remedy}") from None
    except ValueError as error:  # UnicodeDecodeError and JSONDecodeError among them
        raise ValueError(f"{place} is damaged ({' '.join(str(error).split())}): {remedy}") from None


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
