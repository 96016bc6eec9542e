"""Whole studies at test size take minutes, and are no part of the product: slow, so `make package` runs them."""

from pathlib import Path

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents and "out" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.slow)
