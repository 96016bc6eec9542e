"""Studies begun before there was `leanformer.study` are read, reported and gone on with, and keep what is finished.

`before/` holds three directories as version 0.1.0 left them, each with a finished run and without the other one that
was planned.
"""

import json
import shutil
from pathlib import Path

import pytest

from tests.linking import ontology


@pytest.fixture
def before(tmp_path, monkeypatch) -> Path:
    """A copy, in which commands run: the records name their places from there."""
    folder = shutil.copytree(Path(__file__).parent / "before", tmp_path / "before")
    monkeypatch.chdir(folder)
    return folder


def statuses(folder: Path) -> dict[str, str]:
    files = sorted(folder.glob("runs/**/run.json"))
    return {str(file.parent.relative_to(folder / "runs")): json.loads(file.read_text())["status"] for file in files}


def test_a_comparison_goes_on(command, before, data, tiny):
    finished = before / "comparison/runs/dot_product/seed-1/run.json"
    kept = finished.read_bytes()
    arguments = ["compare", "--data", data, "--attention", "dot_product", "--jobs", 1, *tiny, "--out", "comparison"]
    assert command("report", "comparison")[0] == 0
    found = json.loads(Path("comparison/results.json").read_text())
    assert [(run["seed"], run["status"]) for run in found["runs"]] == [(1, "finished"), (2, "missing")]

    status, _, error = command(*arguments, "--seeds", "1-2")
    assert status == 2 and "comparison holds a comparison already: add --resume to go on with it" in error
    status, _, error = command(*arguments, "--seeds", "1-2", "--resume", "--set", "training.batch_size=3")
    assert status == 2 and "was started with training.batch_size = 4, this command says 3" in error

    status, shown, error = command(*arguments, "--seeds", "1-2", "--resume")
    assert (status, error) == (0, "") and "1 runs to go" in shown and "[1/1] dot_product seed 2 finished" in shown
    assert statuses(before / "comparison") == {"dot_product/seed-1": "finished", "dot_product/seed-2": "finished"}
    assert finished.read_bytes() == kept
    found = json.loads(Path("comparison/results.json").read_text())
    assert [(run["seed"], run["status"]) for run in found["runs"]] == [(1, "finished"), (2, "finished")]


def test_a_study_of_robustness_goes_on(command, before):
    finished = before / "robustness/runs/dot_product/seed-1/sst2/clean/seed-1/run.json"
    kept = finished.read_bytes()
    own = ["epochs=1", "batch_size=8", "max_length=32", "threads=1", "precision=fp32"]
    arguments = ["robustness", "comparison/runs/dot_product/seed-1", "--task", "sst2", "--noise", "typos"]
    arguments += ["--levels", "0.5", "--seeds", 2, "--out", "robustness"]
    arguments += [word for setting in own for word in ("--set", f"finetuning.{setting}")]

    status, _, error = command(*arguments, "--task-data", "tasks", "--set", "finetuning.epochs=2")
    assert status == 2 and "robustness was made with finetuning.epochs = 1.0, this command says 2.0" in error
    status, _, error = command(*arguments, "--task-data", str(before / "tasks"))
    assert status == 2 and "robustness was made with another task_data: repeat it" in error

    status, shown, error = command(*arguments, "--task-data", "tasks")
    assert (status, error) == (0, "") and "1 runs to go" in shown
    assert "[1/1] dot_product seed 1, sst2, fine-tuning seed 2: " in shown
    assert finished.read_bytes() == kept
    (scores,) = json.loads(Path("robustness/results.json").read_text())["scores"]
    assert sorted(scores["clean"]) == ["1", "2"] and sorted(scores["points"][0]["scores"]) == ["1", "2"]


def test_linking_goes_on(command, before):
    made = ontology.write(before / "ontology")
    finished = before / "link/runs/tfidf/seed-1/run.json"
    kept = finished.read_bytes()
    own = ["epochs=0", "width=32", "threads=1", "max_length=11"]
    arguments = ["link", "tfidf", "rescnn", "--data", made, "--out", "link"]
    arguments += [word for setting in own for word in ("--set", f"linking.{setting}")]

    status, _, error = command(*arguments, "--set", "linking.composites=each")
    assert status == 2 and "seed-1 holds a run with another linking.composites: choose another --out" in error

    status, shown, error = command(*arguments)
    assert (status, error) == (0, "") and "[2/2] rescnn, seed 1: accuracy@1 24.7" in shown
    assert statuses(before / "link") == {"rescnn/seed-1": "finished", "tfidf/seed-1": "finished"}
    assert finished.read_bytes() == kept
    encoders = json.loads(Path("link/results.json").read_text())["encoders"]
    assert [row["encoder"] for row in encoders] == ["tfidf", "rescnn"]
