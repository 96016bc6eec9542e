"""`--discard-models`: small records are enough to go on, here as if on another machine."""

import json
import shutil

import pytest

from leanformer.training.run.record import RunDirectory
from leanformer.verification import verify

SMALL = ("comparison.json", "plan.json", "settings.json", "run.json", "curve.jsonl")
ARM = "runs/dot_product/seed-1"


@pytest.fixture
def arguments(data, tiny, tmp_path):
    rows = [json.dumps({"sentence": f"a {word} day", "label": word == "good"}) for word in ("good", "bad")] * 4
    for split in ("train", "validation"):
        (tmp_path / "tasks" / "sst2").mkdir(parents=True, exist_ok=True)
        (tmp_path / "tasks" / "sst2" / f"{split}.jsonl").write_text(
            "\n".join(rows).replace("true", "1").replace("false", "0")
        )
    return ["compare", "--data", data, "--attention", "dot_product,shared", "--jobs", "1", *tiny, "--quiet",
            "--task", "sst2", "--task-data", tmp_path / "tasks", "--set", "finetuning.max_length=16",
            "--set", "finetuning.epochs=1", "--discard-models"]  # fmt: skip


def test_a_comparison_goes_on_from_its_small_records(arguments, executor, command, tmp_path, listed_runs):
    first, second = tmp_path / "first", tmp_path / "second"
    ran = executor()
    status, _, error = command(*arguments, "--seeds", "1", "--out", first)
    assert status == 0, error
    assert len(ran) == 4 and not list(first.rglob("*.safetensors"))
    record = RunDirectory(first / ARM).read()
    assert record["status"] == "finished" and record["model_discarded"] and len(record["model"]["sha256"]) == 64
    assert verify(first).faults == []

    for file in (file for file in first.rglob("*") if file.name in SMALL):
        (second / file.relative_to(first)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, second / file.relative_to(first))
    ran = executor()
    status, _, error = command(*arguments, "--seeds", "2", "--out", second, "--resume")
    assert status == 0, error
    assert ran == [f"runs/{arm}/seed-2{task}" for task in ("", "/tasks/sst2") for arm in ("dot_product", "shared")]
    old, new = (json.loads((out / "results.json").read_text()) for out in (first, second))
    assert new["runs"][:2] == old["runs"] and len(listed_runs(second)) == 4
    assert [c["n"] for c in new["comparisons"] if c["metric"] in ("final_loss", "sst2")] == [2, 2]
    (amendment,) = json.loads((second / "plan.json").read_text())["amendments"]
    assert amendment["seeds"] == [2]


def test_who_needs_a_discarded_model_is_told(arguments, executor, command, tmp_path, data):
    out = tmp_path / "out"
    executor()
    assert command(*arguments, "--seeds", "1", "--out", out)[0] == 0
    (tmp_path / "text").write_text("a day\n")
    for verb in (["embed", out / ARM, tmp_path / "text", "--out", tmp_path / "v.npy"],
                 ["evaluate", out / ARM, "--data", data]):  # fmt: skip
        status, _, error = command(*verb)
        assert status == 2 and f"the model of {out / ARM} was discarded (--discard-models)" in error
    status, _, error = command(*arguments, "--seeds", "1", "--out", out, "--resume", "--task-seeds", "2")
    assert status == 2 and f"{out / ARM} has no model any more (--discard-models), so sst2 cannot be added" in error


def test_a_model_stays_while_a_task_is_to_be_done(arguments, executor, command, tmp_path):
    out = tmp_path / "out"
    executor(kill_after=3)  # both runs, and the task of one
    with pytest.raises(executor.Killed):
        command(*arguments, "--seeds", "1", "--out", out)
    assert not (out / ARM / "model").exists() and (out / "runs/shared/seed-1/model").is_dir()
    assert not RunDirectory(out / "runs/shared/seed-1").read().get("model_discarded")
    ran = executor()
    assert command(*arguments, "--seeds", "1", "--out", out, "--resume")[0] == 0
    assert ran == ["runs/shared/seed-1/tasks/sst2"] and not list(out.rglob("*.safetensors"))


def test_weights_that_a_kill_left_behind_are_deleted_later(arguments, executor, command, tmp_path):
    out = tmp_path / "out"
    executor()
    plain = [a for a in arguments if a != "--discard-models"]
    assert command(*plain, "--seeds", "1", "--out", out)[0] == 0
    assert (out / ARM / "model").is_dir()
    RunDirectory(out / ARM).update(model_discarded=True)
    assert command(*arguments, "--seeds", "1", "--out", out, "--resume")[0] == 0
    assert not list(out.rglob("*.safetensors")) and verify(out).faults == []
