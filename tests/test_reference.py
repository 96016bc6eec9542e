"""The page of what is public lists exactly what the package exports, and nothing that does not exist."""

import re
from importlib import import_module
from pathlib import Path

import leanformer

PAGE = (Path(__file__).parent.parent / "docs" / "reference.md").read_text(encoding="utf-8")
NAMES = re.findall(r"^::: (\S+)$", PAGE, re.MULTILINE)


def test_the_page_lists_every_public_name_of_the_package():
    listed = [name.removeprefix("leanformer.") for name in NAMES if name.count(".") == 1]
    assert sorted([*listed, "__version__"]) == leanformer.__all__ and "`leanformer.__version__`" in PAGE


def test_every_listed_name_exists_once_and_is_explained():
    assert len(NAMES) == len(set(NAMES))
    for path in NAMES:
        module, name = path.rsplit(".", 1)
        found = getattr(import_module(module), name)
        assert getattr(found, "__doc__", None), f"{path} has no docstring"
