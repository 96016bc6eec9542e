import json

import pytest

from leanformer.reporting.records.runs import read_run


def test_a_finished_run_has_its_numbers(fabricate_run):
    run = read_run(fabricate_run("pairwise", seed=3), ".")
    assert (run.attention, run.seed, run.status, run.problem) == ("pairwise", 3, "finished", "")
    assert run.parameters == 1_003_520
    assert run.flops_per_token == 6 * 1_003_520
    assert run.curve[-1] == (8_019_968, run.final_loss)
    assert run.floor == 2.921 and run.unigram == 3.046


@pytest.mark.parametrize(
    ("change", "status", "problem"),
    [
        ({"status": "running"}, "unfinished", "running after 8,019,968 tokens"),
        ({"status": "stopped"}, "unfinished", "stopped"),
        ({"status": "failed", "error": "disk full\nmore"}, "failed", "disk full"),
        ({"status": "failed", "error": "validation loss is nan at step 7"}, "diverged", "nan at step 7"),
        ({"status": "finished", "results": {}}, "failed", "no result"),
        ({"status": "finished", "results": {"final_loss": float("nan")}}, "diverged", "not a finite number"),
    ],
)
def test_what_became_of_a_run_is_told(fabricate_run, edit, change, status, problem):
    folder = fabricate_run("shared")
    edit(folder / "run.json", lambda record: record.update(change))
    run = read_run(folder, ".")
    assert run.status == status
    assert problem in run.problem


def test_a_planned_run_without_record_is_missing(tmp_path):
    run = read_run(tmp_path, "runs/shared/seed-2", "shared", 2)
    assert (run.attention, run.seed, run.status) == ("shared", 2, "missing")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"schema": 1, "status"', "damaged"),
        ("[1, 2]", "damaged"),
        ('{"schema": 9}', "schema 9"),
        ('{"schema": 1, "results": {"final_loss": "low"}}', "final_loss = 'low'"),
        ('{"schema": 1, "results": {"validations": [1, 2]}}', "validations"),
        ('{"schema": 1, "floor": 3}', "floor = 3"),
    ],
)
def test_a_damaged_record_is_one_line_that_names_the_file(tmp_path, text, reason):
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(ValueError, match="run.json") as error:
        read_run(tmp_path, ".")
    assert reason in str(error.value)
    assert "\n" not in str(error.value)


def test_an_unfinished_run_is_read_from_its_curve_up_to_the_line_being_written(fabricate_run, edit):
    folder = fabricate_run("shared")
    edit(folder / "run.json", lambda record: record.update(status="running", results={}))
    whole = [{"tokens": 10, "loss": 4.0}, {"tokens": 20, "loss": 3.0, "validation_loss": 3.5}]
    (folder / "curve.jsonl").write_text("".join(json.dumps(line) + "\n" for line in whole) + '{"tokens": 30, "val')
    assert read_run(folder, ".").curve == ((20, 3.5),)


def test_a_damaged_curve_is_named_with_its_line(fabricate_run, edit):
    folder = fabricate_run("shared")
    edit(folder / "run.json", lambda record: record.update(status="running", results={}))
    (folder / "curve.jsonl").write_text('{"tokens": 10}\n{"tok\n{"tokens": 30}\n')
    with pytest.raises(ValueError, match=r"curve\.jsonl, line 2, is damaged"):
        read_run(folder, ".")


def test_options_belong_to_the_name_of_a_single_run(fabricate_run, edit):
    folder = fabricate_run("pairwise")
    edit(folder / "run.json", lambda record: record.update(attention_options={"coefficients_init": "identity"}))
    assert read_run(folder, ".").attention == "pairwise[coefficients_init=identity]"


@pytest.mark.parametrize(
    ("results", "answers", "collapsed"),
    [
        ({"score": 0.0, "metrics": {"matthews": 0.0}}, None, True),
        ({"score": 0.5, "collapsed": True}, None, True),
        ({"score": 0.5, "collapsed": False}, [1, 1, 1], False),
        ({"score": 0.5}, [1, 1, 1], True),
        ({"score": 0.5}, [1, 0, 1], False),
        ({"score": 0.0}, [2.5, 2.5000001, 2.5], True),  # a regression of variance 0 but for rounding
        ({"score": 0.5}, [2.5, 2.51, 2.5], False),
    ],
)
def test_a_collapsed_fine_tuning_is_recognised_and_kept(fabricate_run, edit, results, answers, collapsed):
    folder = fabricate_run("shared", tasks={"cola": 0.2}, task_seeds=1)
    place = folder / "tasks/cola/seed-1"
    edit(place / "run.json", lambda record: record.update(results=results))
    if answers:
        (place / "predictions.jsonl").write_text("".join(json.dumps({"prediction": a}) + "\n" for a in answers))
    (tuning,) = read_run(folder, ".").finetunings
    assert tuning.collapsed is collapsed
    assert (tuning.status, tuning.score) == ("finished", results["score"])


def test_one_split_of_one_answer_is_a_collapse(fabricate_run, edit):
    place = fabricate_run("shared", tasks={"mnli": 0.3}, task_seeds=1) / "tasks/mnli/seed-1"
    edit(place / "run.json", lambda record: record["results"].pop("collapsed"))
    lines = [{"split": split, "prediction": answer} for split, answer in zip("aabb", (0, 0, 0, 1), strict=True)]
    (place / "predictions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert read_run(place.parents[2], ".").finetunings[0].collapsed


def test_the_clock_is_read_from_the_curve(fabricate_run):
    folder = fabricate_run("pairwise")
    assert read_run(folder, ".").clock == ()
    lines = [{"tokens": 64, "step": 1, "seconds": 0.5}, {"tokens": 192, "step": 2, "seconds": 0.75, "loss": 3.0}]
    (folder / "curve.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    run = read_run(folder, ".")
    assert run.clock == ((64, 1, 0.5), (192, 2, 0.75)) and len(run.curve) == 26


def test_fine_tunings_come_in_order_and_missing_ones_are_told(fabricate_run):
    folder = fabricate_run("shared", tasks={"cola": 0.2, "sst2": 0.8}, task_seeds=11)
    (folder / "tasks/cola/seed-2/run.json").unlink()
    tunings = read_run(folder, ".").finetunings
    assert [t.seed for t in tunings if t.task == "sst2"] == list(range(1, 12))
    assert [t.status for t in tunings if t.task == "cola"] == ["finished", "missing"] + ["finished"] * 9
