"""The study of sizes, on made-up records whose line and law are known by hand."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments.size.command import main
from experiments.size.findings import BERT_BASE, find, verdict
from experiments.size.laws import law, line
from experiments.size.page import headline
from experiments.size.records import read
from leanformer.reporting.numbers.statistics import Spread

SIZES, TOKENS, SEEDS = (1_000_000, 2_000_000, 4_000_000), (1_500_000, 3_000_000, 6_000_000), (31, 32, 33)
E, A, B, ALPHA, BETA = 1.5, 60.0, 300.0, 0.3, 0.35
SLOPE = 0.05
"""Nats for ten times the size."""
WOBBLE = {31: -0.002, 32: 0.0, 33: 0.002}
"""What a seed adds to it."""


def loss(size: float, tokens: float) -> float:
    return E + A * size**-ALPHA + B * tokens**-BETA


def comparison(folder: Path, size: int, arms: tuple[str, ...] = ("dot_product", "symmetric"), **plan: Any) -> Path:
    """A comparison of one size; `symmetric` is behind by SLOPE log10(N / 10^6)."""
    runs = []
    for name in arms:
        for seed in SEEDS:
            path = f"runs/{name}/seed-{seed}"
            runs.append({"attention": name, "seed": seed, "learning_rate": 1e-3, "path": path})
            behind = (SLOPE + WOBBLE[seed]) * np.log10(size / 1e6) if name == "symmetric" else 0.0
            points = [
                {
                    "score_at": number,
                    "step": number,
                    "tokens": number,
                    "folder": f"scores/step-{number:08d}",
                    "scores": {"test": score(loss(size, number) + behind + 0.01 * seed)},
                }
                for number in TOKENS
            ]
            counts = {"total": 3 * size, "attention": size // 2, "feed_forward": size // 4, "norms": size // 4}
            write(folder / path / "run.json", {
                "schema": 1, "kind": "pretrain", "status": "finished", "attention": name, "seed": seed,
                "ledger": {"parameters": counts}, "scores_at": points,
                "results": {"final_loss": 2.0, "steps": TOKENS[-1], "scores": points[-1]["scores"]},
            })  # fmt: skip
    write(folder / "comparison.json", {
        "schema": 1, "attention": list(arms), "baseline": "dot_product", "seeds": list(SEEDS), "runs": runs,
        "data": {"hash": "a" * 64}, **plan,
    })  # fmt: skip
    return folder


def score(value: float) -> dict[str, Any]:
    return {"loss": value, "targets": 10, "sequences": 1, "draws": 1, "whole": True, "context_free": 9.0,
            "sha256": "0" * 64}  # fmt: skip


def write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


@pytest.fixture
def directories(tmp_path: Path) -> list[Path]:
    return [comparison(tmp_path / str(size), size) for size in SIZES]


def test_the_line_is_that_of_the_records(directories: list[Path]) -> None:
    findings = find(read(directories, "test"))
    assert set(findings.lines) == {("symmetric", number) for number in TOKENS}
    for found in findings.lines.values():
        assert found.slope.mean == pytest.approx(SLOPE, abs=1e-9)
        predicted = found.at(BERT_BASE)
        assert predicted.mean == pytest.approx(SLOPE * np.log10(85))
        half = 4.302653 * 0.002 / np.sqrt(3)  # t of 2 degrees of freedom; the slopes differ by 0.002
        assert found.slope.ci95 == pytest.approx((SLOPE - half, SLOPE + half), rel=1e-6)
        half *= np.log10(85)
        assert predicted.ci95 == pytest.approx((predicted.mean - half, predicted.mean + half), rel=1e-6)
    assert headline(findings) == "Gap to dot_product over size at 6.00 M tokens: symmetric: grows."


def test_the_law_is_that_of_the_records(directories: list[Path]) -> None:
    found = find(read(directories, "test")).laws["dot_product"]
    assert found.problem == "" and found.residual < 1e-6
    assert found.values["a"] == pytest.approx(ALPHA, abs=0.005) and found.values["b"] == pytest.approx(BETA, abs=0.005)
    assert found.values["E"] == pytest.approx(E + 0.32, abs=0.02)
    low, high = found.intervals["E"]
    assert low == pytest.approx(E + 0.31, abs=0.02) and high == pytest.approx(E + 0.33, abs=0.02)


def test_each_seed_has_its_own_line() -> None:
    found = line([10.0, 100.0, 1000.0], [[1.0, 2.0, 3.0], [0.0, 3.0, 6.0]])
    np.testing.assert_allclose(found.per_seed, [(0.0, 1.0), (-3.0, 3.0)], atol=1e-9)
    assert (found.slope.mean, found.at(1e4).mean) == (pytest.approx(2.0), pytest.approx((4.0 + 9.0) / 2))


def test_points_that_do_not_determine_the_law_are_said_to() -> None:
    sizes, tokens = np.repeat(SIZES[:2], 3).astype(float), np.tile(TOKENS, 2).astype(float)
    assert law(sizes, tokens, loss(sizes, tokens)[None]).problem == "too few sizes"
    sizes, tokens = np.repeat(SIZES, 3).astype(float), np.tile(TOKENS, 3).astype(float)
    flat = np.full((2, 9), 3.0) + np.random.default_rng(0).normal(0, 0.01, (2, 9))
    assert law(sizes, tokens, flat).problem


@pytest.mark.parametrize(
    ("interval", "said"),
    [((0.01, 0.02), "grows"), ((-0.02, -0.01), "shrinks"), ((-0.01, 0.02), "undecided"), (None, "not tested")],
)
def test_the_verdict_is_that_of_the_interval(interval: tuple[float, float] | None, said: str) -> None:
    assert verdict(Spread(3, 0.0, ci95=interval)) == said


def test_the_page_says_what_is_measured_and_what_predicted(directories: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main([*map(str, directories), "--out", str(out)]) == 0
    found = json.loads((out / "results.json").read_text())
    assert (found["kind"], found["baseline"], len(found["points"])) == ("size", "dot_product", 9)
    (last,) = [each for each in found["lines"] if each["score_at"] == TOKENS[-1]]
    assert last["verdict"] == "grows" and last["slope_per_tenfold"]["mean"] == pytest.approx(SLOPE)
    report = (out / "report.md").read_text()
    assert "no model of that size was trained" in report and "Predicted at 85.0 M" in report
    assert (out / "figures/gap.svg").read_text().startswith("<svg")


def test_what_does_not_belong_together_is_refused(directories: list[Path], tmp_path: Path) -> None:
    other = comparison(tmp_path / "other", 8_000_000, data={"hash": "b" * 64})
    with pytest.raises(ValueError, match="other is of other data than"):
        read([*directories, other], "test")
    with pytest.raises(ValueError, match="two comparisons are of 1,000,000 parameters: leave one of them out"):
        read([directories[0], directories[0]], "test")
    with pytest.raises(ValueError, match="has no scores of wiki during training: train with training.score_at"):
        read(directories, "wiki")
    with pytest.raises(ValueError, match="needs runs of two sizes at least"):
        find(read(directories[:1], "test"))
