"""Reports of runs that were scored on held-out text: what final losses are, and what the text adds to their error."""

import math

import numpy as np
import pytest
from scipy import stats

from leanformer.records.scores import read_losses
from leanformer.reporting.analysis.comparison import find
from leanformer.reporting.analysis.held_out import error_sentence, scored_sentence
from leanformer.reporting.comparison.caveats import caveats
from leanformer.reporting.numbers.crossed import difference
from leanformer.reporting.records.study import read_study
from leanformer.reporting.write import write_report

BOTH = {"valid": 0.0, "test": 0.3}


@pytest.fixture
def scored(fabricate):
    return lambda parts=BOTH, **more: fabricate(seeds=(1, 2, 3, 4), scored=parts, **more)


def test_the_final_loss_is_that_of_the_test_part_and_the_curve_stays_that_of_validation(scored):
    study = read_study(scored())
    run = study.at("shared")[0]
    scores = run.record["results"]["scores"]
    assert (run.part, run.final_loss, run.selection_loss) == ("test", scores["test"]["loss"], scores["valid"]["loss"])
    assert run.curve_loss == run.record["results"]["final_loss"] != run.final_loss
    assert (run.floor, run.curve_floor) == (2.921 + 1, 2.921)
    target = study.target(1.0)
    assert target is not None and target.loss == pytest.approx(study.spread("dot_product", "curve_loss").mean)


def test_the_interval_is_of_seeds_and_text(scored):
    """From the records, by hand; 200 sequences of 50 documents: documents are the items."""
    directory = scored()
    findings = find(read_study(directory))
    (c,) = [c for c in findings.of("final_loss") if c.attention == "shared"]
    sums = []
    for seed in (1, 2, 3, 4):
        ours, theirs = (
            read_losses(
                directory / f"runs/{name}/seed-{seed}/scores/test.npz",
                next(r for r in findings.study.at(name) if r.seed == seed).scores["test"]["sha256"],
                "",
            )
            for name in ("shared", "dot_product")
        )
        sums.append((ours.losses - theirs.losses).reshape(50, 4).sum(1))
    expected = difference(np.stack(sums), np.full(50, 40))
    assert c.difference.mean == pytest.approx(expected.mean)
    assert c.difference.standard_error == pytest.approx(expected.standard_error)
    half = stats.t.isf(0.025, expected.df) * expected.standard_error
    assert c.difference.ci95 == pytest.approx((expected.mean - half, expected.mean + half))
    over_seeds = np.std([sum(s) / 2000 for s in sums], ddof=1) / math.sqrt(4)
    assert c.difference.standard_error > 2 * over_seeds
    assert findings.crossed["shared"].item == "document" and findings.crossed["shared"].items == 50


def test_text_that_is_all_alike_adds_next_to_nothing(scored):
    one = find(read_study(scored({"test": 0.0})))
    for c in one.of("final_loss"):
        values = [ours - theirs for ours, theirs in c.values]
        assert c.difference.standard_error == pytest.approx(np.std(values, ddof=1) / 2, rel=0.05)


def test_the_report_says_what_was_scored_and_how_the_error_divides(scored):
    directory = scored()
    findings = find(read_study(directory))
    assert scored_sentence(findings.study) == (
        "Final losses are of the test part of the data: 2,000 predictions in 200 sequences, all of it, the same for "
        "every run."
    )
    said = error_sentence(findings.crossed)
    assert "seeds are crossed with 50 documents." in said and "shared 0.0" in said
    (coarse,) = [caveat for caveat in caveats(findings) if "held-out text adds more than 0.003" in caveat]
    assert "shared (0.0" in coarse and "--test-fraction" in coarse
    results = write_report(directory)
    (row,) = [c for c in results["comparisons"] if (c["attention"], c["metric"]) == ("shared", "final_loss")]
    assert row["standard_error"] == results["held_out"]["shared"]["standard_error"]
    assert "Final losses are of the test part" in (directory / "report.md").read_text()


def test_without_the_losses_of_sequences_the_interval_is_over_seeds_and_the_report_says_so(scored):
    directory = scored()
    for file in directory.glob("runs/*/seed-*/scores/test.npz"):
        file.unlink()
    findings = find(read_study(directory))
    assert not findings.crossed and findings.study.at("shared")[0].part == "test"
    assert any("Intervals are over seeds alone" in caveat for caveat in caveats(findings))


def test_runs_that_were_never_scored_are_of_their_last_validation(fabricate):
    study = read_study(fabricate(seeds=(1, 2)))
    assert study.at("shared")[0].part is None
    assert scored_sentence(study).startswith("Final losses are those of the last validation of training")


def test_damaged_losses_are_named(scored):
    directory = scored()
    (directory / "runs/shared/seed-2/scores/test.npz").write_bytes(b"PK")
    with pytest.raises(ValueError, match="seed-2/scores/test.npz is damaged"):
        write_report(directory)


def test_runs_scored_on_other_text_are_no_pair(scored, edit):
    directory = scored()
    edit(directory / "runs/shared/seed-2/run.json", lambda r: r["results"]["scores"]["test"].update(targets=7))
    findings = find(read_study(directory))
    assert any("what they were scored on" in caveat for caveat in caveats(findings))
    (c,) = [c for c in findings.of("final_loss") if c.attention == "shared"]
    assert c.seeds == (1, 3, 4)


def test_further_texts_have_a_table_and_a_family(scored):
    directory = scored(BOTH | {"wiki": 0.1})
    findings = find(read_study(directory))
    others = findings.other_texts
    assert {c.metric for c in others} == {"final_loss on wiki"} and len(others) == 3
    assert all(c.difference.family == 3 for c in others)
    shared = next(c for c in others if c.attention == "shared")
    assert shared.verdict == "worse" and shared.difference.mean == pytest.approx(0.112, abs=0.03)
    results = write_report(directory)
    assert [c["metric"] for c in results["other_texts"]] == ["final_loss on wiki"] * 3
    assert "The same models on further texts" in (directory / "report.html").read_text()
