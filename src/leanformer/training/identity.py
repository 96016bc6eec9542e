"""Whether a run may be continued: the curve of a run depends on its settings, its data and its plug-in."""

from collections.abc import Container, Mapping
from typing import Any


def difference(before: Mapping[str, Any], now: Mapping[str, Any], free: Container[str] = ()) -> str | None:
    """The first setting or hash, but the `free` ones, in which a run and its continuation differ, in words."""
    old, new = identity(before), identity(now)
    for key in sorted(old.keys() | new.keys()):
        if key not in free and old.get(key) != new.get(key):
            return f"{key} = {old.get(key)!r}, not {new.get(key)!r}"
    return None


def identity(record: Mapping[str, Any]) -> dict[str, Any]:
    """What the curve of a run depends on, by name."""
    named = {f"{table}.{key}": value for table, keys in record["settings"].items() for key, value in keys.items()}
    named |= {f"data.{key}": record["data"][key] for key in ("hash", "tokenizer_hash")}
    named["plugin.sha256"] = (record["plugin"] or {}).get("sha256")
    return named


def continued(before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """The run's own record, running again; another machine or other packages are noted, the precision stays."""
    now["hardware"]["precision"] = before["hardware"]["precision"]
    where = {"versions": now["versions"], "hardware": now["hardware"]}
    legs = before.get("resumed", [])
    last = legs[-1] if legs else {key: before[key] for key in where}
    before = {key: value for key, value in before.items() if key != "error"}
    return before | {"status": "running", "resumed": legs if last == where else [*legs, where]}
