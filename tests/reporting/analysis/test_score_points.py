"""Scores during training: every difference at every number of tokens, with the interval over seeds and text."""

import math

import numpy as np
import pytest
from scipy import stats

from leanformer.records.scores import read_losses
from leanformer.reporting.analysis.comparison import find
from leanformer.reporting.analysis.score_points import score_points
from leanformer.reporting.comparison.loss_tables import at_tokens
from leanformer.reporting.numbers.crossed import difference
from leanformer.reporting.records.study import read_study
from leanformer.reporting.write import write_report

AT = {1_500_000: 0.4, 3_000_000: 0.1}
PARTS = {"valid": 0.0, "test": 0.3, "wiki": 0.1}


@pytest.fixture
def directory(fabricate):
    return fabricate(seeds=(1, 2, 3), scored=PARTS, scored_at=AT)


def test_there_is_one_point_per_number_of_tokens_and_text(directory):
    points = score_points(find(read_study(directory)))
    assert [(p.score_at, p.part) for p in points] == [(n, part) for n in AT for part in ("test", "wiki")]
    for point in points:
        assert [c.attention for c in point.comparisons] == ["symmetric", "pairwise", "shared"]
        above = AT[point.score_at] + ("test", "wiki").index(point.part) + 1
        assert point.losses["dot_product"].mean == pytest.approx(1.823 + above, abs=0.05)
        assert all(c.difference.family == 3 for c in point.comparisons)


def test_the_interval_is_of_seeds_and_text(directory):
    """From the records, by hand; 200 sequences of 50 documents: documents are the items."""
    findings = find(read_study(directory))
    point = score_points(findings)[0]
    (c,) = [c for c in point.comparisons if c.attention == "shared"]
    sums = []
    for seed in (1, 2, 3):
        ours, theirs = (
            read_losses(
                directory / f"runs/{name}/seed-{seed}" / run.points[1_500_000]["folder"] / "test.npz",
                run.points[1_500_000]["scores"]["test"]["sha256"],
                "",
            )
            for name in ("shared", "dot_product")
            for run in findings.study.at(name)
            if run.seed == seed
        )
        sums.append((ours.losses - theirs.losses).reshape(50, 4).sum(1))
    expected = difference(np.stack(sums), np.full(50, 40))
    assert c.difference.mean == pytest.approx(expected.mean)
    half = stats.t.isf(0.025, expected.df) * expected.standard_error
    assert c.difference.ci95 == pytest.approx((expected.mean - half, expected.mean + half))


def test_the_main_contrasts_are_a_family_of_their_own(directory, edit):
    edit(directory / "comparison.json", lambda plan: plan.update(main=["shared"]))
    comparisons = score_points(find(read_study(directory)))[0].comparisons
    assert [c.exploratory for c in comparisons] == [True, True, False]
    assert [c.difference.family for c in comparisons] == [2, 2, 1]


def test_the_report_shows_and_holds_them(directory):
    results = write_report(directory)
    rows = results["score_points"]
    assert [(row["score_at"], row["part"]) for row in rows] == [(n, part) for n in AT for part in ("test", "wiki")]
    first = next(c for c in rows[0]["comparisons"] if c["attention"] == "shared")
    assert first["mean_difference"] == pytest.approx(0.112, abs=0.03) and len(first["ci95"]) == 2
    assert math.isclose(first["mean_difference"], rows[0]["mean_loss"]["shared"] - rows[0]["mean_loss"]["dot_product"])
    table = at_tokens(find(read_study(directory)))
    assert len(table.rows) == 4 * 4 and table.rows[0][:4] == ["1,500,000", "test", "dot_product", "3"]
    assert "Before the end the learning rate has not fallen yet" in table.caption
    assert "## At N tokens" in (directory / "report.md").read_text()


def test_under_a_constant_rate_a_point_is_a_whole_run(fabricate):
    directory = fabricate(seeds=(1, 2), scored=PARTS, scored_at=AT, settings={"schedule": "constant"})
    assert "Before the end" not in at_tokens(find(read_study(directory))).caption


def test_what_learned_nothing_by_then_is_not_testable(fabricate):
    early = fabricate(seeds=(1, 2, 3), scored=PARTS, scored_at={500_000: 1.2, **AT})
    points = score_points(find(read_study(early)))
    assert {c.verdict for c in points[0].comparisons} == {"not testable"}
    assert "not testable" not in {c.verdict for c in points[-2].comparisons}


def test_without_points_there_is_no_table(fabricate):
    findings = find(read_study(fabricate(seeds=(1, 2), scored=PARTS)))
    assert score_points(findings) == [] and at_tokens(findings) is None
