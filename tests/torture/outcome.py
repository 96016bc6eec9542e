"""Whether two directories hold the same, bit for bit but for what measures time."""

import json
from pathlib import Path
from typing import Any

from leanformer.records.reading import sealed

TIMES = (
    "seconds",
    "curve_bytes",
    "curve_sha256",
    "checksum",
    "per_second",
    "joules",
    "energy",
    "mfu",
    "mfu",
    "resumed",
    "hours",
    "command",
)
"""A key that holds one of these is of one run's time: speed, energy, the length of its seconds, who continued it, and
sums over these. A checksum must still be that of its record."""
OF_TIME = ("log", "logs", "report.md", "report.html", "figures")
"""Files and folders whose text names speeds; results.json holds the same numbers."""


def hidden(folder: Path) -> list[Path]:
    """Half-written files and locks."""
    return sorted(path.relative_to(folder) for path in folder.rglob(".*"))


def differences(found: Path, expected: Path, but: tuple[str, ...] = OF_TIME) -> list[str]:
    """A line each."""
    theirs, ours = _files(found, but), _files(expected, but)
    lines = [
        f"{name} is {'missing' if name in ours else 'too much'}"
        for name in sorted(theirs.keys() ^ ours.keys())
        if "checkpoint" not in Path(name).parts  # a signal asks for one of its own, and the two newest are kept
    ]
    for name in sorted(theirs.keys() & ours.keys()):
        if theirs[name].read_bytes() != ours[name].read_bytes():
            lines += _different(name, theirs[name], ours[name])
    return lines


def _files(folder: Path, but: tuple[str, ...]) -> dict[str, Path]:
    """Without the sums of a checkpoint, which cover its seconds."""
    found = {path.relative_to(folder): path for path in folder.rglob("*") if path.is_file()}
    of_time = {path for path in found if set(but) & set(path.parts) or path.name == "SHA256SUMS"}
    return {str(path): whole for path, whole in found.items() if path not in of_time and ".lock" not in path.name}


def _different(name: str, found: Path, expected: Path) -> list[str]:
    if found.suffix not in (".json", ".jsonl"):
        return [f"{name} differs"]
    record = _parsed(found)
    if isinstance(record, dict) and "checksum" in record and record != sealed(_but_checksum(record)):
        return [f"{name} has a checksum of other content"]
    theirs, ours = _timeless(record), _timeless(_parsed(expected))
    if theirs == ours:
        return []
    flat, other = _flat(theirs), _flat(ours)
    key = next(key for key in sorted(flat.keys() | other.keys()) if flat.get(key) != other.get(key))
    return [f"{name} differs in {key}: {flat.get(key)!r}, not {other.get(key)!r}"]


def _but_checksum(record: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key != "checksum"}


def _parsed(path: Path) -> Any:
    text = path.read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()] if path.suffix == ".jsonl" else json.loads(text)


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        kept = (key for key in value if key != "time" and not any(word in key for word in TIMES))
        return {key: _timeless(value[key]) for key in kept}
    return [_timeless(each) for each in value] if isinstance(value, list) else value


def _flat(value: Any, at: str = "") -> dict[str, Any]:
    if isinstance(value, dict):
        return {k: v for key, each in value.items() for k, v in _flat(each, f"{at}.{key}").items()}
    if isinstance(value, list):
        return {k: v for i, each in enumerate(value) for k, v in _flat(each, f"{at}[{i}]").items()}
    return {at: value}
