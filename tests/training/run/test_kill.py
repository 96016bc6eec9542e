"""Killed at any instant and resumed, a run draws the curve of one that was left alone, bit by bit."""

import json
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def undisturbed(fork_server: Any, settings: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    assert fork_server.run(out, settings()) == 0
    return out


@pytest.fixture
def assert_same(undisturbed: Path, curve: Any) -> Callable[[Path], None]:
    def check(run: Path) -> None:
        assert curve(run) == curve(undisturbed)
        assert (run / "model/model.safetensors").read_bytes() == (undisturbed / "model/model.safetensors").read_bytes()
        record, expected = (json.loads((r / "run.json").read_text()) for r in (run, undisturbed))
        assert record["status"] == "finished"
        for key in ("steps", "tokens", "final_loss", "best_loss", "validations"):
            assert record["results"][key] == expected["results"][key]
        assert [p.name for p in sorted((run / "checkpoint").iterdir())] == ["step-00000028", "step-00000035"]
        assert not [p for p in run.rglob(".*")]

    return check


def kill_when(fork_server: Any, pid: int, condition: Callable[[], Any], number: int = signal.SIGKILL) -> None:
    fork_server.until(condition, pid)
    os.kill(pid, number)


def lines(run: Path) -> int:
    path = run / "curve.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


INSTANTS: dict[str, Callable[[Path], Any]] = {
    "before the first step": lambda run: (run / "run.json").exists(),
    "before the first checkpoint": lambda run: lines(run) == 1,
    "while a checkpoint is written": lambda run: list((run / "checkpoint").glob(".step-*.tmp")),
    "between two checkpoints": lambda run: lines(run) >= 8,
    "while old checkpoints are removed": lambda run: list((run / "checkpoint").glob(".step-*.old")),
    "while the model is written": lambda run: list(run.glob(".model.*.tmp")) or (run / "model").exists(),
}


@pytest.mark.parametrize("instant", INSTANTS)
def test_killed_and_resumed_is_undisturbed(
    instant: str, fork_server: Any, settings: Any, tmp_path: Path, assert_same: Any
) -> None:
    run = tmp_path / "run"
    pid = fork_server.start(run, settings())
    kill_when(fork_server, pid, lambda: INSTANTS[instant](run))
    assert fork_server.wait(pid) == -signal.SIGKILL
    assert fork_server.run(run, settings(), resume=True) == 0
    assert_same(run)


def test_killed_in_the_middle_of_a_file(
    fork_server: Any, settings: Any, tmp_path: Path, undisturbed: Path, assert_same: Any
) -> None:
    """The kernel kills a process that writes beyond a limit, here inside optimizer.safetensors and inside the model."""
    run = tmp_path / "run"
    sizes = {p.name: p.stat().st_size for p in (undisturbed / "checkpoint/step-00000035").iterdir()}
    limit = (sizes["model.safetensors"] + sizes["optimizer.safetensors"]) // 2
    assert fork_server.run(run, settings(), file_limit=limit) == -signal.SIGXFSZ
    (partial,) = (run / "checkpoint").glob(".step-00000007.*.tmp")
    assert (partial / "model.safetensors").stat().st_size == sizes["model.safetensors"]
    assert not (partial / "state.json").exists()

    limit = sizes["model.safetensors"] // 2
    assert fork_server.run(run, settings(), resume=True, file_limit=limit) == -signal.SIGXFSZ
    assert fork_server.run(run, settings(), resume=True) == 0
    assert_same(run)


@pytest.mark.parametrize("seed", [1, 2])
def test_killed_again_and_again_at_random(
    seed: int, fork_server: Any, settings: Any, tmp_path: Path, assert_same: Any
) -> None:
    run, draw = tmp_path / "run", random.Random(seed)
    resume = False
    for _ in range(3):
        pid = fork_server.start(run, settings(), resume=resume)
        time.sleep(draw.uniform(0.1, 1.2))
        os.kill(pid, signal.SIGKILL)
        fork_server.wait(pid)
        resume = (run / "run.json").exists()
    assert fork_server.run(run, settings(), resume=resume) == 0
    assert_same(run)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGXCPU])
def test_a_signal_makes_a_checkpoint_and_leaves_cleanly(
    number: signal.Signals, fork_server: Any, settings: Any, tmp_path: Path, assert_same: Any, curve: Any
) -> None:
    run = tmp_path / "run"
    pid = fork_server.start(run, settings())
    kill_when(fork_server, pid, lambda: lines(run) >= 4, number)
    assert fork_server.wait(pid) == 128 + number
    record = json.loads((run / "run.json").read_text())
    assert record["status"] == "stopped"
    newest = max((run / "checkpoint").glob("step-*"))
    step = json.loads((newest / "state.json").read_text())["step"]
    assert step >= curve(run)[-1]["step"] >= 10
    log = Path(f"{run}.log").read_text()
    assert f"stopped by {number.name} after step {step}; continue with: leanformer pretrain --data" in log
    assert "--resume" in log and "Traceback" not in log

    assert fork_server.run(run, None, resume=True) == 0  # the settings are the run's own
    assert_same(run)


def test_a_full_disk_spares_the_checkpoint_before(
    fork_server: Any, settings: Any, tmp_path: Path, undisturbed: Path, assert_same: Any
) -> None:
    run = tmp_path / "run"
    pid = fork_server.start(run, settings())
    kill_when(fork_server, pid, lambda: (run / "checkpoint/step-00000007").exists(), signal.SIGTERM)
    assert fork_server.wait(pid) == 128 + signal.SIGTERM
    before = sorted((run / "checkpoint").iterdir())

    limit = (undisturbed / "checkpoint/step-00000035/optimizer.safetensors").stat().st_size - 1
    assert fork_server.run(run, settings(), resume=True, file_limit=limit, fatal=False) == 2
    assert sorted((run / "checkpoint").iterdir()) == before
    (line,) = [x for x in Path(f"{run}.log").read_text().splitlines() if x.startswith("error: ")]
    assert f"{before[-1].name} is intact: free disk space and continue with --resume" in line
    record = json.loads((run / "run.json").read_text())
    assert record["status"] == "failed" and f"error: {record['error']}" == line

    assert fork_server.run(run, settings(), resume=True) == 0
    assert_same(run)


@pytest.mark.parametrize("optimizer", ["muon", "stable_adamw"])
def test_a_ramp_and_every_optimizer_resume_where_they_were(
    optimizer: str, fork_server: Any, settings: Any, tmp_path: Path, curve: Any
) -> None:
    """With the masking rate on its way, tables and tied maps at rates of their own, and a batch that grows."""
    tables = settings(
        {"attention": "random+symmetric"},
        optimizer=optimizer,
        first_batch_size=4,
        batch_ramp=0.8,
        mask_rate=0.4,
        final_mask_rate=0.1,
        schedule="warmup_stable_decay",
        lr_multipliers={"position_tables": 10.0, "tied_projections": 0.5},
    )
    whole, run = tmp_path / "whole", tmp_path / "run"
    assert fork_server.run(whole, tables) == 0
    pid = fork_server.start(run, tables)
    kill_when(fork_server, pid, lambda: (run / "checkpoint/step-00000014").exists())
    assert fork_server.wait(pid) == -signal.SIGKILL
    assert fork_server.run(run, tables, resume=True) == 0
    assert curve(run) == curve(whole)
    assert (run / "model/model.safetensors").read_bytes() == (whole / "model/model.safetensors").read_bytes()
    record = json.loads((run / "run.json").read_text())
    assert record["results"]["steps"] == 37 and record["results"]["tokens"] == curve(run)[-1]["tokens"] < 37 * 22 * 13
