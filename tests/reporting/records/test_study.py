import json

import pytest

from leanformer.reporting.records.study import read_study


def test_a_comparison_knows_its_mechanisms_in_order(fabricate):
    study = read_study(fabricate(seeds=(1, 2)))
    assert study.attention == ("dot_product", "symmetric", "pairwise", "shared")
    assert (study.baseline, study.seeds, len(study.runs)) == ("dot_product", [1, 2], 8)
    assert study.warnings == ()


@pytest.mark.parametrize(
    ("effects", "named", "baseline"),
    [
        ({"shared": 0.0, "dot_product": 0.1}, None, "dot_product"),
        ({"shared": 0.0, "dot_product": 0.1}, "nobody", "dot_product"),
        ({"shared": 0.0, "pairwise": 0.1}, "dot_product", "shared"),
        ({"shared": 0.0, "dot_product": 0.1}, "shared", "shared"),
    ],
)
def test_a_missing_baseline_is_replaced_and_that_is_said(fabricate, edit, effects, named, baseline):
    directory = fabricate(effects=effects, seeds=(1, 2))
    edit(directory / "comparison.json", lambda plan: plan.update(baseline=named))
    study = read_study(directory)
    assert study.baseline == baseline
    assert any("stands in" in warning for warning in study.warnings) is (named != baseline)


def test_the_best_rate_of_each_mechanism_is_chosen_and_all_are_kept(fabricate):
    study = read_study(fabricate(learning_rates=(1e-3, 2e-3, 4e-3), seeds=(1, 2)))
    assert study.swept
    assert [rate.learning_rate for rate in study.sweep["shared"]] == [1e-3, 2e-3, 4e-3]
    assert study.chosen("shared").learning_rate == 2e-3
    assert len(study.at("shared")) == 2 and len(study.runs) == 24
    assert study.warnings == ()


def test_a_rate_at_which_a_seed_diverged_does_not_win(fabricate, edit):
    directory = fabricate(learning_rates=(1e-3, 2e-3, 4e-3), seeds=(1, 2))
    edit(directory / "runs/shared-lr0.002/seed-1/run.json", lambda r: r["results"].update(final_loss=float("nan")))
    study = read_study(directory)
    assert study.chosen("shared").learning_rate != 2e-3
    assert any("edge of the sweep for shared" in warning for warning in study.warnings)


def test_unequal_sweeps_are_told(fabricate):
    directory = fabricate(learning_rates=(1e-3, 2e-3, 4e-3), seeds=(1,))
    (directory / "runs/shared-lr0.004/seed-1/run.json").unlink()
    assert any("not tuned equally" in warning for warning in read_study(directory).warnings)


def test_a_run_on_the_floor_or_hardly_below_it_is_stuck(fabricate):
    study = read_study(fabricate(effects={"dot_product": 0.0, "shared": -0.2}, base=2.915, noise=0.0, seeds=(1, 2)))
    assert [run.seed for run in study.without_context("dot_product")] == [1, 2]
    assert study.without_context("shared") == []


def test_a_single_run_is_a_study_without_baseline(fabricate_run):
    study = read_study(fabricate_run("shared", seed=7))
    assert (study.attention, study.baseline, study.challengers, study.seeds) == (("shared",), None, [], [7])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"runs": []}, "plans no runs"),
        ({"runs": "all"}, "damaged"),
        ({"attention": None}, "damaged"),
        ({"attention": ["dot_product", "dense"]}, "names dense, but plans no run"),
        ({"schema": 2}, "schema 2"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused_in_one_line(fabricate, edit, change, reason):
    directory = fabricate(seeds=(1,))
    edit(directory / "comparison.json", lambda plan: plan.update(change))
    with pytest.raises(ValueError, match="comparison.json") as error:
        read_study(directory)
    assert reason in str(error.value) and "\n" not in str(error.value)


def test_a_seed_planned_twice_is_refused(fabricate, edit):
    directory = fabricate(seeds=(1,))
    edit(directory / "comparison.json", lambda plan: plan["runs"].append(plan["runs"][0]))
    with pytest.raises(ValueError, match="dot_product with seed 1 twice"):
        read_study(directory)


def test_a_directory_without_records_is_told_so(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"neither a comparison \(comparison.json\) nor a run"):
        read_study(tmp_path)


def test_a_fine_tuning_run_alone_is_no_study(tmp_path):
    (tmp_path / "run.json").write_text(json.dumps({"schema": 1, "kind": "finetune", "status": "finished", "seed": 1}))
    with pytest.raises(ValueError, match="holds a finetune run"):
        read_study(tmp_path)
