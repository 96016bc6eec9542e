"""A comparison's plan for a budget of each run."""

import json

import pytest

from leanformer.training.budget import planning
from leanformer.training.budget.pace import Pace, cost


@pytest.fixture
def times(monkeypatch):
    """A machine on which a minute is 50,000 tokens; returns (the factor by which it is slower, the threads timed)."""
    factor, threads = [1.0], []

    def measure(settings, corpus):
        threads.append(settings.training.threads)
        return Pace(factor[0] * 60 / 50_000, 0.0, *cost(settings, corpus))

    monkeypatch.setattr(planning, "measure", measure)
    return factor, threads


def test_every_run_gets_the_budget_and_a_later_command_the_same_plan(command, data, tmp_path, times, executor):
    factor, threads = times
    ran = executor()
    small = ("hidden_size=16", "num_hidden_layers=1", "num_attention_heads=2", "intermediate_size=32")
    settings = [argument for each in small for argument in ("--set", f"model.{each}")]
    settings += ["--set", "training.sequence_length=32", "--set", "training.threads=1"]
    arguments = ["--data", data, "--out", tmp_path / "out", "--recipe", "fast", "--minutes", "1", *settings]
    arguments += ["--attention", "dot_product,symmetric"]
    status, out, err = command("compare", *arguments, "--seeds", "1")
    assert status == 0, err
    assert "each run: 1 layers of 16" in out and "about 60 seconds on this machine" in out and threads == [1]
    tokens = {json.loads((tmp_path / "out" / path / "run.json").read_text())["settings"]["training"]["max_tokens"]
              for path in ran}  # fmt: skip
    assert len(ran) == 2 and len(tokens) == 1 and 30_000 < tokens.pop() < 60_000

    factor[0] = 3.0
    status, out, err = command("compare", *arguments, "--seeds", "2", "--resume")
    assert status == 0, err
    assert len(ran) == 4 and "each run" not in out and threads == [1]
    assert len(json.loads((tmp_path / "out" / "results.json").read_text())["runs"]) == 4
    status, out, err = command("compare", *arguments, "--seeds", "2", "--resume", "--set", "training.warmup=0.3")
    assert status == 2 and "warmup" in err
