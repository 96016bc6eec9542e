"""`leanformer pretrain --recipe NAME` with a budget: plans, runs, and goes on by what the run has recorded."""

import json

import pytest

from leanformer.training.budget import planning
from leanformer.training.budget.pace import Pace, cost

SMALL = {
    "model.hidden_size": 16,
    "model.num_hidden_layers": 1,
    "model.num_attention_heads": 2,
    "model.intermediate_size": 32,
    "training.sequence_length": 32,
    "training.threads": 1,
}
SMALL = [argument for key, value in SMALL.items() for argument in ("--set", f"{key}={value}")]


@pytest.fixture(autouse=True)
def times(monkeypatch):
    """A machine on which a minute is 40,000 tokens of the model above; returns the factor by which it is slower."""
    factor = [1.0]

    def measure(settings, corpus):
        return Pace(factor[0] * 60 / 50_000, 0.0, *cost(settings, corpus))

    monkeypatch.setattr(planning, "measure", measure)
    return factor


def curve(run):
    lines = [json.loads(line) for line in (run / "curve.jsonl").read_text().splitlines()]
    return [(line["step"], line["loss"], line["learning_rate"], line.get("validation_loss")) for line in lines]


def test_a_planned_run_is_repeated_by_its_recorded_settings(command, data, tmp_path, times):
    run, again = tmp_path / "run", tmp_path / "again"
    arguments = ["--data", data, "--recipe", "fast", "--minutes", "1", *SMALL]
    status, out, err = command("pretrain", *arguments, "--out", run)
    assert status == 0, err
    assert out.startswith("plan: 1 layers of 16, 0.0 M parameters, ")
    record = json.loads((run / "run.json").read_text())
    settings = record["settings"]
    assert 30_000 < settings["training"]["max_tokens"] < 60_000 and settings["training"]["max_seconds"] is None
    assert settings["training"]["first_batch_size"] == 8 and settings["training"]["final_mask_rate"] == 0.15
    file = tmp_path / "settings.json"
    file.write_text(json.dumps(settings))
    assert command("pretrain", file, "--data", data, "--out", again, "-q")[0] == 0
    assert curve(again) == curve(run)

    times[0] = 3.0  # another plan would find a third of the tokens
    status, out, err = command("pretrain", *arguments, "--out", run, "--resume")
    assert (status, "already finished" in out) == (0, True), err
    status, _, err = command("pretrain", *arguments, "--out", run, "--resume", "--set", "training.seed=5")
    assert status == 2 and "training.seed = 1" in err
    status, _, err = command("pretrain", *arguments, "--out", run)
    assert status == 2 and "already holds a run" in err


def test_a_dry_run_prints_the_plan_and_writes_nothing(command, data, tmp_path):
    arguments = ["--data", data, "--recipe", "fast", "--out", tmp_path / "run", *SMALL, "--dry-run"]
    status, out, err = command("pretrain", *arguments, "--hours", "0.1")
    assert status == 0, err
    assert len(out.splitlines()) == 1 and "about 6 minutes on this machine" in out
    status, out, _ = command("pretrain", *arguments, "--tokens", "200000", "--json")
    planned = json.loads(out)
    assert status == 0 and planned["settings"]["training"]["max_tokens"] == 200_000
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_settings_keeps_all_but_its_budget(command, data, tmp_path):
    file = tmp_path / "run.toml"
    file.write_text("[model]\nhidden_size = 24\nnum_attention_heads = 2\n[training]\nmax_steps = 7\nbatch_size = 4\n")
    arguments = [file, "--data", data, "--out", tmp_path / "run", "--minutes", "1", "--dry-run", "--json"]
    status, out, err = command("pretrain", *arguments)
    assert status == 0, err
    settings = json.loads(out)["settings"]
    assert (settings["model"]["hidden_size"], settings["training"]["batch_size"]) == (24, 4)
    assert settings["training"]["max_steps"] is None and settings["training"]["max_tokens"] > 10_000


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--recipe", "fast", "--hours", "1", "--minutes", "2"], "--hours 1 and --minutes 2 are both budgets"),
        (["--recipe", "fast", "--minutes", "-2"], "--minutes -2: write a number above 0"),
        (["--recipe", "fast", "--minutes", "nan"], "--minutes nan: write a number above 0"),
        (["--minutes", "2"], "--minutes 2: say what to train by --recipe fast or a CONFIG.toml"),
        (["--recipe", "slow"], "recipe 'slow'"),
        (["present.toml", "--recipe", "fast"], "--recipe fast and present.toml are both settings"),
        (["--recipe", "fast", "--hours", "1", "--init", "model"], "--init model has a size of its own"),
        (["--recipe", "fast", "--resume", "--dry-run"], "--dry-run plans a new run"),
        (["--recipe", "fast", "--resume", "--hours", "1"], "no run in"),
        (["--recipe", "fast", "--set", "training.max_seconds=5"], "give --minutes instead"),
    ],
)
def test_mistakes_are_one_line(command, data, tmp_path, arguments, words, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "present.toml").touch()
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}", encoding="utf-8")
    status, _, err = command("pretrain", "--data", data, "--out", tmp_path / "run", *arguments)
    assert status == 2 and len(err.splitlines()) == 1 and words in err, err
    assert not (tmp_path / "run").exists()
