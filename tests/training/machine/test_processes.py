"""One process and two draw the same curve, however the batch is cut; two stop and resume together."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from torch.testing import assert_close

from leanformer.training.machine.process_group import launcher_note

NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


@pytest.fixture(scope="module")
def alone(fork_server: Any, settings: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("alone") / "run"
    assert fork_server.run(out, settings(NO_DROPOUT, max_steps=19, micro_batch_size=None)) == 0
    return out


def assert_close_curves(actual: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    assert len(actual) == len(expected) > 5
    for line, other in zip(actual, expected, strict=True):
        assert_close(line, other, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("micro_batch_size", [None, 4])
def test_two_processes_draw_the_curve_of_one(
    micro_batch_size: int | None, fork_server: Any, settings: Any, tmp_path: Path, alone: Path, curve: Any
) -> None:
    run = tmp_path / "run"
    tables = settings(NO_DROPOUT, max_steps=19, micro_batch_size=micro_batch_size)
    assert fork_server.run_two(run, tables) == [0, 0]
    assert_close_curves(curve(run), curve(alone))
    assert json.loads((run / "run.json").read_text())["hardware"]["processes"] == 2


def test_accumulation_draws_the_same_curve(
    fork_server: Any, settings: Any, tmp_path: Path, alone: Path, curve: Any
) -> None:
    run = tmp_path / "run"
    assert fork_server.run(run, settings(NO_DROPOUT, max_steps=19, micro_batch_size=3)) == 0
    assert_close_curves(curve(run), curve(alone))


def test_two_processes_share_out_a_growing_batch(fork_server: Any, settings: Any, tmp_path: Path, curve: Any) -> None:
    """With Muon, whose updates are the same on both: they see the same gradient."""
    tables = settings(NO_DROPOUT, max_steps=19, first_batch_size=4, optimizer="muon", micro_batch_size=None)
    assert fork_server.run(tmp_path / "one", tables) == 0
    assert fork_server.run_two(tmp_path / "two", tables) == [0, 0]
    one, two = curve(tmp_path / "one"), curve(tmp_path / "two")
    assert [line["tokens"] for line in two] == [line["tokens"] for line in one]
    for line, other in zip(two, one, strict=True):  # rounding to bfloat16 makes more of a difference in the last bit
        assert_close(line, other, rtol=1e-3, atol=1e-3)


def test_two_processes_stop_together_and_resume_exactly(
    fork_server: Any, settings: Any, tmp_path: Path, curve: Any
) -> None:
    """Only the second process hears the signal. Dropout is on, so each process must find its own again."""
    undisturbed, run = tmp_path / "undisturbed", tmp_path / "run"
    assert fork_server.run_two(undisturbed, settings()) == [0, 0]
    pids = fork_server.start_two(run, settings())
    written = run / "curve.jsonl"
    fork_server.until(lambda: written.exists() and written.read_bytes().count(b"\n") >= 4, pids[0])
    os.kill(pids[1], signal.SIGTERM)
    assert [fork_server.wait(pid) for pid in pids] == [143, 143]
    assert json.loads((run / "run.json").read_text())["status"] == "stopped"
    assert curve(run) == curve(undisturbed)[: len(curve(run))]

    assert fork_server.run_two(run, settings(), resume=True) == [0, 0]
    assert curve(run) == curve(undisturbed)


@pytest.mark.parametrize(
    ("restarts", "shared", "noted"), [("3", "True", True), ("3", "False", False), ("0", "True", False)]
)
def test_restarts_that_would_meet_stale_addresses_are_noted(restarts: str, shared: str, noted: bool) -> None:
    given = {"TORCHELASTIC_MAX_RESTARTS": restarts, "TORCHELASTIC_USE_AGENT_STORE": shared}
    assert ("TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1" in (launcher_note(given) or "")) is noted
    assert launcher_note({}) is None
