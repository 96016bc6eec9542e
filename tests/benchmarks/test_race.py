"""The rivals learn, their losses are those of their own logits at all positions, and the search finds the best rate."""

import json
import math
import sys
from pathlib import Path

import pytest
import torch
from torch.nn.functional import cross_entropy

from benchmarks.race import __main__ as race
from benchmarks.race.rivals import RIVALS, trapezium, triangle
from benchmarks.race.training import batches, masked_loss, train, validation_loss
from leanformer.bench.entry import Benchmark
from leanformer.data.corpus import Corpus

SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}


@pytest.fixture
def benchmark(data: Path) -> Benchmark:
    corpus = Corpus.open(data)
    how = {"length": 16, "batch": 8, "dropout": 0.0, "mask_rate": 0.15, "steps": 4, "sizes": SIZES}
    return Benchmark(corpus=corpus, vocab_size=corpus.vocab_size, device=torch.device("cpu"), **how)


@pytest.mark.parametrize("name", RIVALS)
def test_a_rival_learns(name: str, benchmark: Benchmark):
    pytest.importorskip("optimi" if name == "modernbert" else "x_transformers")
    rival = RIVALS[name]
    torch.manual_seed(1)
    untrained = rival.build(benchmark)
    before = validation_loss(rival, untrained, benchmark.corpus, benchmark.length)
    after = validation_loss(rival, train(rival, benchmark, 4e-3, 1, 120).model, benchmark.corpus, benchmark.length)
    assert after < min(before, math.log(benchmark.vocab_size) - 0.5)  # uniform guesses cost the logarithm


@pytest.mark.parametrize("name", RIVALS)
def test_the_loss_is_that_of_all_logits_at_the_labels(name: str, benchmark: Benchmark):
    pytest.importorskip("optimi" if name == "modernbert" else "x_transformers")
    rival = RIVALS[name]
    torch.manual_seed(1)
    model = rival.build(benchmark).double().eval()
    (batch,) = batches(rival, benchmark, seed=1, steps=1)
    tokens = batch["input_ids"]
    with torch.no_grad():
        logits = model(tokens).logits if name == "modernbert" else model(tokens)
        labels = torch.full((tokens.numel(),), -100)
        labels[batch["positions"]] = batch["labels"]
        whole = cross_entropy(logits.flatten(0, 1), labels)
        assert masked_loss(rival, model, batch).item() == pytest.approx(whole.item(), rel=1e-6)


def test_batches_grow_to_the_whole(benchmark: Benchmark):
    sizes = [len(each["input_ids"]) for each in batches(RIVALS["cramming"], benchmark, seed=1, steps=8)]
    assert sizes == [2, 4, 5, 6, 8, 8, 8, 8]  # 8 x (0.25, 0.4375, 0.625, 0.8125, 1), rounded to even at .5


def test_the_rates_of_a_run():
    assert [trapezium(t) for t in (0.025, 0.05, 0.6, 1.0)] == pytest.approx([0.5, 1.0, 1.0, 0.0])
    assert trapezium(0.7) == pytest.approx(0.5)  # a quarter of the decay: 1 - sqrt(0.25)
    assert [triangle(t) for t in (0.25, 0.5, 1.0)] == [0.5, 1.0, 0.0]


def test_the_search_ends_when_the_best_rate_lies_between_two_others():
    first = (1.0, 2.0, 4.0)
    assert race.next_rate({1.0: 3.0}, first) == 2.0
    assert race.next_rate({1.0: 3.0, 2.0: 2.0, 4.0: 2.5}, first) is None
    assert race.next_rate({1.0: 3.0, 2.0: 2.0, 4.0: 1.5}, first) == 8.0
    assert race.next_rate({1.0: 1.0, 2.0: 2.0, 4.0: 2.5}, first) == 0.5
    assert race.next_rate({float(2**n): -n for n in range(6)}, first) is None


def test_a_race_from_clock_to_report(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    pytest.importorskip("x_transformers")
    monkeypatch.setattr(race, "size", lambda name: SIZES)
    monkeypatch.setattr(race, "MOST_RATES", 3)
    out = tmp_path / "race"
    out.mkdir()
    how = ["--data", str(data), "--out", str(out), "--only", "cramming", "--only", "fast", "--minutes", "0.05"]
    how += ["--length", "16", "--batch", "8", "--seeds", "2"]
    clock = {"cramming": {"seconds_per_step": [0.5]}, "fast": {"tokens_per_second": [800.0]}}

    def command(what: str) -> None:
        monkeypatch.setattr(sys, "argv", ["race", what, *how])
        race.main()

    with pytest.raises(ValueError, match="cramming is not tuned"):
        command("run")
    record = json.loads((out / "race.json").read_text())
    (out / "race.json").write_text(json.dumps(record | {"clock": clock}))
    command("tune")
    command("run")
    done = json.loads((out / "race.json").read_text())
    assert set(done["runs"]) == {"cramming", "fast", "fast, half of the time"}
    assert all(set(rows) == {"1", "2"} for rows in done["runs"].values())
    assert done["runs"]["cramming"]["1"]["steps"] == round(0.05 * 60 / 0.5 / 0.8125)
    command("run")  # nothing is repeated
    assert json.loads((out / "race.json").read_text()) == done
    command("report")
    assert "fast minus cramming: " in capsys.readouterr().out
