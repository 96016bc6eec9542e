"""A comparison of models that write: each is scored after its training, and the report says so."""

import json

import pytest

SIZES = ["model.hidden_size=16", "model.num_hidden_layers=1", "model.num_attention_heads=2"]
SIZES += ["model.intermediate_size=32", "training.objective=seq2seq", "training.max_steps=2"]
SIZES += ["training.batch_size=4", "training.sequence_length=16"]
SETTINGS = [argument for setting in SIZES for argument in ("--set", setting)]


def test_runs_are_scored_on_the_test_split(pairs, tmp_path, command):
    out, arms = tmp_path / "out", "random+dot_product,random+dot_product[model.intermediate_size=24]"
    status, _, error = command("compare", "--data", pairs, "--out", out, "--attention", arms, "--seeds", 1, *SETTINGS)
    assert status == 0, error
    results = json.loads((out / "results.json").read_text())
    assert results["tasks"] == ["multi30k_ende"]
    for run in results["runs"]:
        (task,) = run["tasks"]["multi30k_ende"]
        assert (task["seed"], task["status"], task["examples"]) == (1, "finished", 10) and 0 <= task["score"] <= 1
    assert {c["metric"] for c in results["comparisons"]} >= {"final_loss", "multi30k_ende"}
    assert not any("not a true pair" in caveat for caveat in results["caveats"])
    report = (out / "report.md").read_text()
    assert "an encoder-decoder model" in report and "## Generation" in report and "Perplexity" in report
    before_settings = report.partition("## To repeat it")[0]
    assert "masked" not in before_settings and "fine-tun" not in before_settings.lower()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--task", "sst2", "--task-data", "x"], "holds multi30k_ende, only that is scored; leave it out"),
        (["--task-seeds", "2"], "beam search takes no chances; leave it out"),
    ],
)
def test_what_cannot_be_scored_is_refused(arguments, message, pairs, tmp_path, command):
    status, _, error = command("compare", "--data", pairs, "--out", tmp_path / "out", *SETTINGS, *arguments)
    assert status == 2 and message in error


def test_a_causal_model_is_not_fine_tuned(data, tmp_path, command):
    arguments = ["--set", "training.objective=causal_lm", "--task", "sst2", "--task-data", "x"]
    status, _, error = command("compare", "--data", data, "--out", tmp_path / "out", *arguments)
    assert status == 2 and "is not fine-tuned; leave it out" in error
