"""plan.json: written before the first run, never changed for what it says, and added to in the open."""

import json

import pytest

from leanformer.comparison.continuing import invariants
from leanformer.comparison.written_plan import check_amends, write_plan
from leanformer.records.reading import SCHEMA
from leanformer.reporting.records.planned import read_plan


def written(out, made, begun=False):
    write_plan(out, made, invariants(made.record()), begun)
    file = out / "plan.json"
    return json.loads(file.read_text()) if file.exists() else None


def test_it_says_what_was_decided(tmp_path, make_plan):
    record = written(tmp_path, make_plan(margin=0.05, main=["shared"], tasks=["rte"], task_data="glue"))
    assert record["schema"] == SCHEMA and record["time"].endswith("+00:00") and record["versions"]["torch"]
    assert record["attention"] == ["dot_product", "shared"] and record["baseline"] == "dot_product"
    assert (record["main"], record["margin"], record["task_margin"]) == (["shared"], 0.05, 0.01)
    assert (record["seeds"], record["tuning_seeds"], record["learning_rates"]) == ([1, 2], [], None)
    assert (record["tasks"], record["task_seeds"], record["metric"]) == (["rte"], 1, "final_loss")
    assert (record["data_hash"], record["command"], record["amendments"]) == ("abc", "leanformer compare", [])
    (tmp_path / "other").mkdir()
    other = make_plan(overrides=["training.max_steps=6"])
    assert (
        record["settings_hash"] != written(tmp_path / "other", other)["settings_hash"]
        and len(record["settings_hash"]) == 64
    )


def test_the_same_command_changes_no_byte(tmp_path, make_plan):
    written(tmp_path, make_plan())
    before = (tmp_path / "plan.json").read_bytes()
    written(tmp_path, make_plan(), begun=True)
    written(tmp_path, make_plan("dot_product", seeds=[1]), begun=True)  # less is no addition
    assert (tmp_path / "plan.json").read_bytes() == before


def test_what_is_added_stands_apart_from_what_was_planned(tmp_path, make_plan):
    first = written(tmp_path, make_plan())
    more = make_plan("dot_product,shared,pairwise", seeds=[1, 2, 4], tasks=["rte"], task_data="glue", command="more")
    second = written(tmp_path, more, begun=True)
    assert {key: second[key] for key in first if key not in ("amendments", "checksum")} == {
        key: first[key] for key in first if key not in ("amendments", "checksum")
    }
    (amendment,) = second["amendments"]
    del amendment["time"]
    assert amendment == {"command": "more", "attention": ["pairwise"], "seeds": [4], "tasks": ["rte"]}
    third = written(tmp_path, make_plan(seeds=[1, 2, 4, 5]), begun=True)
    assert [entry["seeds"] for entry in third["amendments"]] == [[4], [5]]
    assert read_plan(tmp_path).in_force("seeds") == [1, 2, 4, 5] and read_plan(tmp_path).added("seeds") == [4, 5]


def test_margin_and_contrast_are_fixed_once_a_run_has_finished(tmp_path, make_plan):
    written(tmp_path, make_plan(margin=0.03))
    for later, key in (
        (make_plan(margin=0.05), "margin"),
        (make_plan(main=["shared"]), "main"),
        (make_plan("shared"), "baseline"),
    ):
        with pytest.raises(ValueError, match=rf"plan.json says {key} = .*or give another --out"):
            check_amends(tmp_path, later, finished=True)
    check_amends(tmp_path, make_plan(seeds=[1, 2, 3]), finished=True)
    check_amends(tmp_path, make_plan(margin=0.05), finished=False)
    assert written(tmp_path, make_plan(margin=0.05), begun=True)["amendments"][0]["margin"] == 0.05
    assert read_plan(tmp_path).in_force("margin") == 0.05
    check_amends(tmp_path, make_plan(margin=0.05), finished=True)


def test_no_plan_is_made_up_for_runs_that_had_none(tmp_path, make_plan):
    assert written(tmp_path, make_plan(), begun=True) is None
    check_amends(tmp_path, make_plan(margin=0.05), finished=True)


def test_a_changed_plan_is_noticed(tmp_path, make_plan):
    record = written(tmp_path, make_plan())
    (tmp_path / "plan.json").write_text(json.dumps(record | {"margin": 0.5}))
    with pytest.raises(ValueError, match="plan.json is damaged"):
        read_plan(tmp_path)
