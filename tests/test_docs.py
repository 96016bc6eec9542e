"""What the documentation shows works: the example mechanism, every config, every command's options, every table."""

import re
import tomllib
from pathlib import Path

import pytest

from leanformer.attention import load_plugin, registry
from leanformer.attention.testing import check_mechanism

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_the_example_mechanism_keeps_the_contract(tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "_MECHANISMS", dict(registry._MECHANISMS))
    page = (ROOT / "docs" / "add-a-mechanism.md").read_text()
    file = tmp_path / "bilinear.py"
    file.write_text(re.search(r"```python\n(.*?)```", page, re.DOTALL).group(1))
    assert load_plugin(file) == ["bilinear"]
    check_mechanism("bilinear", rank=6)
    check_mechanism("bilinear", projection="separate")
