"""The slopes are those of known curves, and every axis is measured, written and drawn."""

import json
import sys
from pathlib import Path

import pytest

from benchmarks import growth


def test_the_slope_is_the_exponent():
    points = [1, 2, 4, 8, 16]
    assert growth.slope(points, [5 * point**1.5 for point in points]) == pytest.approx(1.5)
    assert growth.slope(points, [1e9, 1e9, 3.0, 6.0, 12.0]) == pytest.approx(1.0)  # the upper half alone


def test_a_cost_that_outgrows_its_formula_is_marked():
    costs = {"a": {"measured": [1, 4, 16, 64], "formula": [1, 2, 4, 8]}, "b": {"measured": [1, 2, 4, 8]}}
    costs["b"]["formula"] = costs["b"]["measured"]
    first, second = growth.table({"axes": {"length": {"points": [1, 2, 4, 8], "costs": costs}}}).splitlines()[2:]
    assert "| 2.00 | 1.00 | faster than its formula |" in first
    assert "| 1.00 | 1.00 |  |" in second


def test_a_decoders_cache_is_what_the_formula_says():
    found = growth.of_caches((4, 8))
    assert found["measured"] == found["formula"] == [4 * 2 * 256 * length * 4 for length in (4, 8)]


def test_all_axes_of_a_small_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture):
    small = {"length": (8, 16), "depth": (1, 2), "documents": (200, 400)}
    monkeypatch.setattr(growth, "POINTS", small)
    monkeypatch.setattr(growth, "TOKENS", 16)
    monkeypatch.setattr(growth, "ROUNDS", 1)
    monkeypatch.setattr("leanformer.bench.rounds.TURN", 0.01)
    monkeypatch.setattr(sys, "argv", ["growth", str(tmp_path)])
    growth.main()
    record = json.loads((tmp_path / "growth.json").read_text())
    assert {axis: tuple(found["points"]) for axis, found in record["axes"].items()} == small
    assert "depth: " in capsys.readouterr().out
    growth.main()  # nothing is repeated
    assert capsys.readouterr().out == growth.table(record) + "\n"
    assert (tmp_path / "growth.md").read_text() == growth.table(record)
    assert "<svg" in (tmp_path / "growth.svg").read_text()
