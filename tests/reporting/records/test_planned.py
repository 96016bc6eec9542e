"""The report says what was planned before the first run, what was added later, and how a rate was chosen."""

import json

import pytest

from leanformer.records.reading import sealed
from leanformer.reporting.comparison.plan_text import NO_PLAN, ranges
from leanformer.reporting.records.study import read_study
from leanformer.reporting.write import write_report
from leanformer.verification import verify

PLAN = {
    "schema": 1,
    "time": "2026-11-30T06:00:12+00:00",
    "command": "leanformer compare",
    "attention": ["dot_product", "symmetric", "pairwise"],
    "baseline": "dot_product",
    "main": None,
    "margin": 0.03,
    "task_margin": 0.01,
    "family": "the arms of the main contrast against the baseline, in one metric (Holm)",
    "seeds": [1, 2, 3],
    "tuning_seeds": [],
    "learning_rates": None,
    "tasks": ["sst2"],
    "task_seeds": 3,
    "amendments": [],
}
LATER = {
    "time": "2026-12-01T10:30:00+00:00",
    "command": "more",
    "attention": ["shared"],
    "seeds": [4, 5],
    "tasks": ["cola"],
}

SCORE = {"targets": 10, "sequences": 2, "draws": 1, "whole": True, "sha256": ""}


def planned(directory, **changes):
    (directory / "plan.json").write_text(json.dumps(sealed(PLAN | changes)))
    return directory


def section(directory, title):
    text = (directory / "report.md").read_text(encoding="utf-8").replace("\\", "")
    return text.partition(f"## {title}")[2].partition("\n## ")[0]


def test_the_plan_is_told_with_what_was_added_to_it(fabricate):
    directory = planned(fabricate(tasks={"sst2": 0.8, "cola": 0.12}), amendments=[LATER])
    found = write_report(directory)
    told = section(directory, "What was planned")
    assert "written at 2026-11-30 06:00 UTC, before the first run" in told
    assert "dot_product, symmetric and pairwise with seeds 1 to 3" in told and "sst2, with 3 runs per model." in told
    assert "every other mechanism against dot_product in final loss" in told
    assert "within 0.03 nats, scores within 1 point." in told and "(Holm)" in told
    assert "Added later, at 2026-12-01 10:30 UTC: mechanism shared; seeds 4 and 5; task cola." in told
    assert "Planned, but without a run" not in told
    assert found["plan"]["amendments"] == [LATER] and found["plan"]["margin"] == 0.03
    assert "What was planned" in (directory / "report.html").read_text(encoding="utf-8")


def test_tables_mark_what_was_added(fabricate):
    directory = planned(fabricate(tasks={"sst2": 0.8, "cola": 0.12}), amendments=[LATER])
    write_report(directory)
    assert "Added later, not in the plan: shared." in section(directory, "What each attention costs and reaches")
    assert "Added later, not in the plan: shared and cola." in section(directory, "Fine-tuning")
    assert "Added later, not in the plan: shared, seed 4 and seed 5." in section(directory, "Every run")


def test_what_was_planned_and_has_no_run_is_told(fabricate):
    directory = planned(fabricate(seeds=(1, 2)), attention=["dot_product", "dense"], main=["dense"], margin=0.05)
    write_report(directory)
    told = section(directory, "What was planned")
    assert "Planned, but without a run in this report: dense, seed 3 and sst2." in told
    assert "The main contrast is dense against dot_product" in told and "within 0.05 nats" in told
    assert "Added later" not in section(directory, "What each attention costs and reaches")


def test_without_a_plan_the_report_says_so(fabricate, fabricate_run):
    directory = fabricate(seeds=(1, 2))
    assert write_report(directory)["plan"] is None
    assert section(directory, "What was planned").strip() == NO_PLAN
    single = fabricate_run("pairwise")
    write_report(single)
    assert "planned" not in (single / "report.md").read_text()


def test_a_changed_plan_is_refused_by_report_and_verify(fabricate):
    directory = planned(fabricate(seeds=(1, 2)))
    record = json.loads((directory / "plan.json").read_text())
    (directory / "plan.json").write_text(json.dumps(record | {"margin": 0.3}))
    with pytest.raises(ValueError, match="plan.json is damaged"):
        write_report(directory)
    assert any("plan.json is damaged" in fault for fault in verify(directory).faults)


def test_numbers_are_written_as_ranges():
    assert ranges([11, 12, 13, 14]) == "11 to 14"
    assert ranges([2, 1, 7]) == "1, 2 and 7"
    assert ranges([1, 3, 4, 5, 9]) == "1, 3 to 5 and 9"


@pytest.fixture
def tuned(fabricate, edit):
    """Two reported seeds at the rate of 2e-3, two others for tuning at three rates."""
    directory = fabricate(learning_rates=(1e-3, 2e-3, 4e-3), seeds=(1, 2, 1001, 1002))

    def mark(record):
        record["runs"] = [r for r in record["runs"] if r["seed"] > 1000 or r["learning_rate"] == 2e-3]
        for run in record["runs"]:
            run |= {"tuning": True} if run["seed"] > 1000 else {}

    edit(directory / "comparison.json", mark)
    return directory


def test_a_rate_is_chosen_by_validation_on_tuning_seeds(tuned, edit):
    """Even where the final loss, which is that of the test split, says otherwise."""
    for seed in (1001, 1002):
        for rate, loss in ((1e-3, 2.5), (2e-3, 2.0), (4e-3, 2.25)):
            file = tuned / f"runs/shared-lr{rate:g}/seed-{seed}/run.json"
            edit(
                file,
                lambda r, loss=loss: r["results"].update(scores={"valid": SCORE | {"loss": loss}}, final_loss=5 - loss),
            )
    study = read_study(tuned)
    assert [run.selection_loss for run in study.runs if run.attention == "shared" and run.tuning] == [
        *[2.5, 2.0, 2.25] * 2
    ]
    rate = study.chosen("shared")
    assert (rate.learning_rate, rate.loss.mean, rate.loss.n) == (2e-3, 2.0, 2)
    assert study.seeds == [1, 2] and [run.seed for run in study.at("shared")] == [1, 2]


def test_tuning_runs_are_in_no_comparison(tuned):
    found = write_report(tuned)
    assert {tuple(c["seeds"]) for c in found["comparisons"] if c["metric"] == "final_loss"} == {(1, 2)}
    assert {c["planned"] for c in found["comparisons"]} == {2}
    assert [row["n"] for row in found["sweep"]["shared"]] == [2, 2, 2]
    assert not any("chosen by the very losses" in caveat for caveat in found["caveats"])
    assert ", tuning |" in section(tuned, "Every run")


def test_a_missing_tuning_run_is_told_apart_from_a_missing_result(tuned, edit):
    edit(tuned / "runs/shared-lr0.004/seed-1001/run.json", lambda r: r.update(status="failed", error="no power"))
    (caveat,) = [c for c in write_report(tuned)["caveats"] if "shared" in c and "seed 1001" in c]
    assert caveat == (
        "The learning rate of shared is chosen without 1 tuning run (seed 1001, learning rate 0.004: failed)."
    )


def test_before_the_choice_nothing_is_compared(tuned, edit):
    edit(tuned / "comparison.json", lambda r: r.update(runs=[run for run in r["runs"] if run.get("tuning")]))
    found = write_report(tuned)
    assert found["headline"].startswith("Nothing can be compared") and found["seeds"] == []
