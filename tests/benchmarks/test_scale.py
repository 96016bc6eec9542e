"""docs/scale.md shows what the arithmetic gives."""

from pathlib import Path

import pytest

from benchmarks.scale import HEADERS, table

PAGE = Path(__file__).parents[2] / "docs" / "scale.md"


@pytest.mark.parametrize("rows", HEADERS, ids=lambda rows: rows.__name__)
def test_the_page_has_the_table(rows: object) -> None:
    assert table(rows) in PAGE.read_text(encoding="utf-8")
