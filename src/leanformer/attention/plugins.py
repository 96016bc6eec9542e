"""A user's file that registers something by name: mechanisms, projections, mixers.

Every table of names that a plug-in may add to is one of `TABLES`: so a file that fails leaves nothing behind, and what
a name in a config comes from is found again.
"""

import ast
import importlib
import importlib.util
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

Check = Callable[[str, Any], None]
"""Raises ValueError for an entry, by name, that its table cannot hold."""
TABLES: list[dict[str, Any]] = []
CHECKS: list[Check] = []
"""The check of each table's new entries."""
_PLUGINS: dict[Path, list[str]] = {}
_TEXTS: dict[Path, bytes] = {}
"""The content of every plug-in when it was loaded."""


def open_to_plugins(table: dict[str, Any], check: Check = lambda name, made: None) -> dict[str, Any]:
    """Returns the same table, to which plug-ins may add from now on what passes the `check`."""
    TABLES.append(table)
    CHECKS.append(check)
    return table


def load_plugin(path: str | Path | None) -> list[str]:
    """Run a user's file, which registers; returns the names it added. None, no plug-in, adds none.

    Loading the same file twice does nothing, unless its text has changed: then its new names replace its old ones, so
    that a notebook checks what it has just written. Models that were built before keep the old code.
    """
    if path is None:
        return []
    file = Path(path).resolve()
    if file in _PLUGINS and (not file.is_file() or file.read_bytes() == _TEXTS.get(file)):
        return []
    if not file.is_file():
        raise FileNotFoundError(f"plug-in {path} does not exist: give the path of a Python file")
    spec = importlib.util.spec_from_file_location(f"leanformer_plugin_{file.stem}", file)
    if spec is None or spec.loader is None:
        raise ValueError(f"plug-in {path} is not a Python file (its name must end in .py)")
    text = file.read_bytes()
    _open_tables(text)
    before = _snapshot()
    for table in TABLES:
        for name in _PLUGINS.get(file, ()):
            table.pop(name, None)
    removed = _snapshot()
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
        for table, check, old in zip(TABLES, CHECKS, before, strict=False):
            for name in table.keys() - old.keys():
                check(name, table[name])
    except BaseException as error:  # SystemExit too: a plug-in does not end the command that loads it
        if isinstance(error, KeyboardInterrupt) or hasattr(error, "signal"):  # which came from outside
            raise
        _restore(before)
        raise ValueError(f"plug-in {path} failed to load: {type(error).__name__}: {error}") from error
    added = (name for table, old in zip(TABLES, removed, strict=False) for name in table if name not in old)
    _PLUGINS[file], _TEXTS[file] = list(dict.fromkeys(added)), text
    return list(_PLUGINS[file])


def require_name(what: str, name: str) -> None:
    """ValueError unless the name may stand in a config and in `--attention`."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise ValueError(f"{what} name {name!r}: use lower-case letters, digits and underscores")


def require_free(what: str, name: str, table: Mapping[str, Any]) -> None:
    if name in table:
        raise ValueError(f"a {what} named {name!r} is registered already: choose another name")


def require_subclass(what: str, made: Any, base: type[Any]) -> None:
    """Raises ValueError unless `made` is a class that derives from `base`, which has what others ask of it."""
    if not isinstance(made, type):
        raise ValueError(f"{what}: {made!r} is no class: give one that derives from {_public(base)}")
    if not issubclass(made, base):
        raise ValueError(f"{what}: {made.__name__} must derive from {_public(base)}")


def _public(base: type[Any]) -> str:
    """Returns the name by which a plug-in imports the class."""
    place = "leanformer.attention" if base.__module__.startswith("leanformer.attention.") else base.__module__
    return f"{place}.{base.__name__}"


def plugins_of(name: str) -> list[Path]:
    """The plug-ins that a name, or any part of a mixture, comes from."""
    wanted = {name, *name.split("+")}
    return [file for file, added in _PLUGINS.items() if wanted & set(added)]


def reference(made: type[Any]) -> tuple[str, str, Path | None]:
    """Where a class is found in another process: its module and name, and the plug-in that the module is."""
    file = getattr(sys.modules.get(made.__module__), "__file__", None)
    path = None if file is None else Path(file)
    return made.__module__, made.__qualname__, path if path in _PLUGINS else None


def referenced(module: str, name: str, plugin: Path | None) -> Any:
    load_plugin(plugin)
    return getattr(importlib.import_module(module), name)


@contextmanager
def forgotten() -> Iterator[None]:
    """What the block registers is unknown behind it, and plug-ins may be loaded again."""
    before, plugins = _snapshot(), dict(_PLUGINS)
    _PLUGINS.clear()
    try:
        yield
    finally:
        _restore(before)
        _PLUGINS.clear()
        _PLUGINS.update(plugins)


def _open_tables(text: bytes) -> None:
    """Import what a plug-in imports of leanformer, so that its tables are there, with our own names, before it is run.

    What cannot be imported or parsed is left to the run, which says so.
    """
    with suppress(SyntaxError, ValueError):
        for node in ast.walk(ast.parse(text)):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or "", *(f"{node.module}.{name}" for name in names)]
            for name in names:
                if name.partition(".")[0] == "leanformer":
                    with suppress(ImportError):
                        importlib.import_module(name)


def _snapshot() -> list[dict[str, Any]]:
    return [dict(table) for table in TABLES]


def _restore(before: list[dict[str, Any]]) -> None:
    """Tables that were opened since then keep what they hold."""
    for table, old in zip(TABLES, before, strict=False):
        table.clear()
        table.update(old)
