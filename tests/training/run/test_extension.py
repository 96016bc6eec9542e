"""A finished run that is extended is the run that was planned longer from the start."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch.testing import assert_close

from leanformer.settings import settings_from
from leanformer.training.optimizers.schedule import fork
from leanformer.training.pretrain import pretrain
from leanformer.training.run.checkpoint import Checkpoints
from leanformer.training.run.provenance import plan_at
from leanformer.training.run.record import RunDirectory

Tables = Callable[..., dict[str, Any]]
CONSTANT = {"schedule": "constant", "warmup": 0.0, "validate_every": 4}
DECAY = {"schedule": "warmup_stable_decay", "warmup": 0.0, "decay": 0.5, "validate_every": 4}


@pytest.fixture
def run(corpus: Path, settings: Tables, tmp_path: Path) -> Callable[..., Path]:
    def make(name: str, **training: Any) -> Path:
        pretrain(settings_from(settings(log_every=3, **training)), corpus, tmp_path / name, quiet=True)
        return tmp_path / name

    return make


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "model/model.safetensors")


def lines(run: Path) -> list[dict[str, Any]]:
    """Of the curve, without the clock's."""
    found = [json.loads(line) for line in (run / "curve.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in found]


@pytest.mark.parametrize(("how", "forks"), [(CONSTANT, 6), (DECAY, 4)], ids=["constant", "warmup_stable_decay"])
def test_an_extended_run_is_the_longer_one_bit_by_bit(
    run: Callable[..., Path], how: dict[str, Any], forks: int
) -> None:
    """Bit by bit, though the newest checkpoints of the shorter one are from its decay."""
    short, long = run("short", max_steps=7, checkpoint_every=1, **how), run("long", max_steps=10, **how)
    results = json.loads((short / "run.json").read_text())["results"]
    record = pretrain(None, None, short, extend=10, quiet=True)
    assert lines(short) == lines(long)
    for name, tensor in weights(long).items():
        assert torch.equal(weights(short)[name], tensor), name
    assert record["status"] == "finished" and record["results"]["steps"] == 10
    (extended,) = record["extended"]
    assert (extended["max_steps"], extended["from_step"], extended["results"]) == (7, forks, results)
    assert record["settings"]["training"]["max_steps"] == 10
    again = pretrain(None, None, short, extend=12, quiet=True)
    assert [entry["max_steps"] for entry in again["extended"]] == [7, 10]
    plans = [plan_at(again, step).get("training.max_steps") for step in (1, forks, forks + 1, 11)]
    assert plans == [7, 7, 10 if forks < again["extended"][1]["from_step"] else None, None]


def test_the_warm_up_takes_as_many_steps(run: Callable[..., Path]) -> None:
    short = run("short", max_steps=6, **CONSTANT | {"warmup": 0.5})
    long = run("long", max_steps=10, **CONSTANT | {"warmup": 0.3})
    assert pretrain(None, None, short, extend=10, quiet=True)["settings"]["training"]["warmup"] == 0.3
    for name, tensor in weights(long).items():
        assert_close(weights(short)[name], tensor, rtol=0, atol=1e-6)


def test_a_killed_extension_is_resumed(run: Callable[..., Path], tmp_path: Path) -> None:
    short, long = run("short", max_steps=6, **CONSTANT), run("long", max_steps=10, **CONSTANT)
    pretrain(None, None, short, extend=10, quiet=True)
    RunDirectory(short).update(status="running", results=None)
    for step in Checkpoints(short / "checkpoint").steps():
        if step > 5:
            shutil.rmtree(Checkpoints(short / "checkpoint").path(step))
    pretrain(None, None, short, resume=True, quiet=True)
    assert lines(short) == lines(long)


@pytest.mark.parametrize(
    ("training", "steps", "message"),
    [
        ({"schedule": "linear"}, 10, r"training.schedule = 'linear' falls in .* start a new run .* --init .*run$"),
        (CONSTANT, 6, "--extend 6: .* has made 6 steps already; give more"),
        (CONSTANT | {"checkpoint_every": 0}, 10, "holds no checkpoint up to step 5, .*--init"),
        (CONSTANT | {"final_mask_rate": 0.3}, 10, "its batches or masks change in .* --init"),
    ],
)
def test_what_cannot_be_extended_is_refused(
    run: Callable[..., Path], training: dict[str, Any], steps: int, message: str
) -> None:
    made = run("run", max_steps=6, **training)
    before = sorted(path.stat().st_mtime_ns for path in made.rglob("*"))
    with pytest.raises(ValueError, match=message):
        pretrain(None, None, made, extend=steps, quiet=True)
    assert sorted(path.stat().st_mtime_ns for path in made.rglob("*")) == before


def test_a_larger_budget_names_the_remedy(run: Callable[..., Path], settings: Tables) -> None:
    made = run("run", max_steps=6, **CONSTANT)
    longer = settings_from(settings(log_every=3, max_steps=10, **CONSTANT))
    with pytest.raises(ValueError, match=r"max_steps = 6, not 10: .* --extend STEPS, or a new run with --init"):
        pretrain(longer, None, made, resume=True, quiet=True)
    with pytest.raises(ValueError, match="leave out the config and --set"):
        pretrain(longer, None, made, extend=10, quiet=True)


def test_a_fork_is_the_last_step_that_the_end_has_no_say_in(settings: Tables) -> None:
    def of(steps: int | None, **training: Any) -> int | None:
        return fork(settings_from(settings(max_steps=steps, **training)).training, steps)

    assert of(10, schedule="constant") == 9
    assert of(10, schedule="warmup_stable_decay", decay=0.2) == 8
    assert of(10, schedule="warmup_stable_decay", decay=0.25) == 8  # the eighth step's middle is at 0.75
    assert of(10, schedule="warmup_stable_decay", decay=0.0) == 9
    assert of(10, schedule="warmup_stable_decay", decay=1.0) is None
    assert of(10, schedule="linear") is None
    assert of(1, schedule="constant") is None
