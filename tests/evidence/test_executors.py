"""The record of one comparison on three executors says what docs/cluster.md says of it."""

import json
from pathlib import Path

ROOT = Path(__file__).parents[2]
RECORD = json.loads((ROOT / "docs" / "results" / "cluster" / "executors.json").read_text())


def test_three_reports_are_equal():
    assert RECORD["runs"] == len(RECORD["final_loss"]) == 24
    assert RECORD["equal_weights"] == RECORD["equal_reports"] == {"local": True, "slurm": True, "ray": True}
    for losses in RECORD["final_loss"].values():
        assert set(losses) == {"local", "slurm", "ray"} and len(set(losses.values())) == 1


def test_what_was_disturbed_was_in_the_middle_and_nothing_else_began_again():
    what = {name: [event["what"] for event in story["events"]] for name, story in RECORD["executors"].items()}
    assert what["local"] == []
    assert what["slurm"] == [
        "node2 killed",
        "controller killed and started again",
        "task of node1 requeued",
        "node2 started again",
        "report written",
    ]
    assert what["ray"] == ["a node removed, which had one of two runs", "report written"]
    for name, story in RECORD["executors"].items():
        disturbed = {run for event in story["events"] for run in event.get("runs", [])}
        again = set(story["begun_again"])
        assert again <= {run.removeprefix("runs/").replace("/", "-") for run in disturbed}
        assert story["starts"] == 24 + len(again), name
        assert bool(again) == (name != "local")
