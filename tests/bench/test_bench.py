"""`leanformer bench`: what is compared is comparable, every ratio is in the record, and a mistake is one line."""

import json
import math
import os
import pickle
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from leanformer.bench import entry, mechanisms, memory, ours, peak, peers, plain_loop, processes, rounds, sizes, tables
from leanformer.bench.output import document, print_tables
from leanformer.bench.pictures import pictures
from leanformer.bench.slopes import slope, slopes
from leanformer.data.corpus import Corpus
from leanformer.install import how_to_install
from leanformer.models.cost import ledger
from leanformer.reporting.render.markdown import markdown
from leanformer.settings import TrainingSettings
from leanformer.training.objectives.masked_lm import MaskedLM

SMALL = ["hidden_size=16", "num_hidden_layers=1", "num_attention_heads=2", "intermediate_size=24"]
SET = [word for setting in SMALL for word in ("--set", f"model.{setting}")]
MECHANISMS = ["bench", "mechanisms", "--vocab-size", "31", "--tokens", "24", "--rounds", "2", "--threads", "1", *SET]
RACE = ["bench", "peers", "--steps", "4", "--rounds", "2", "--batch", "3", "--length", "16", "--threads", "1", *SET]


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """A turn is one step, and the machine's peak is that of small products."""
    monkeypatch.setattr(rounds, "TURN", 0.0)
    monkeypatch.setattr("leanformer.training.machine.peak.TURN", 0.0)
    monkeypatch.setattr("leanformer.training.machine.peak.SQUARE", {"cpu": 32})
    monkeypatch.setattr(peak, "COPIED", {"cpu": 4096})


@pytest.fixture
def benchmark(data) -> entry.Benchmark:
    return entry.Benchmark(
        corpus=Corpus.open(data),
        sizes={"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24},
        vocab_size=100,
        length=16,
        batch=3,
        dropout=0.1,
        mask_rate=0.15,
        steps=4,
        device=torch.device("cpu"),
    )


def refused(outcome, *words):
    status, out, err = outcome
    assert status == 2, out + err
    lines = [line for line in err.splitlines() if line.strip()]
    assert len(lines) == 1 and lines[0].startswith("leanformer: "), err
    for word in words:
        assert word in lines[0]


# --- mechanisms


@pytest.fixture
def measured(command, tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "on_cpu", lambda *_: 3 << 20)
    out = tmp_path / "made" / "out"
    status, told, err = command(*MECHANISMS, "--lengths", "6,12", "--attention", "shared,random", "--out", out)
    assert status == 0, err
    return json.loads((out / "results.json").read_text()), told, out


def test_mechanisms_are_measured_beside_the_baseline(measured):
    record, told, out = measured
    assert record["schema"] == 1 and record["kind"] == "mechanisms" and record["hardware"]["device"] == "cpu"
    assert record["versions"]["torch"] and record["settings"]["rounds"] == 2
    places = [(row["length"], row["attention"], row["batch"]) for row in record["rows"]]
    names = ("dot_product", "shared", "random")
    assert places == [(length, name, 24 // length) for length in (6, 12) for name in names]
    for row in record["rows"]:
        for kind in ("training", "inference", "inference_padded"):
            speed = row[kind]["speed"]
            assert 0 < speed["low"] <= speed["median"] <= speed["high"]
            assert row["attention"] != "dot_product" or set(speed.values()) == {1.0}
        assert row["training"]["share_of_model"]["median"] > 0
        assert row["peak_bytes"] == 3 << 20
    assert "random" in told and "by FLOPs" in told
    assert "tokens/s" not in told and "ms a step" not in told, "absolute times of a CPU"
    assert sorted(path.name for path in (out / "figures").iterdir()) == ["cost.svg", "inference.svg", "training.svg"]
    assert "figures/cost.svg" in (out / "report.md").read_text()


def test_arms_with_long_names_have_pictures_too(measured):
    text = json.dumps(measured[0]).replace(
        '"random"', '"dot_product[model.mixer=clusters,model.mixer_options.ratio=16]"'
    )
    drawn = {picture.name: picture for picture in pictures(json.loads(text))}
    assert "dot_product[clusters,16]" in drawn["cost"].wide and drawn["cost"].narrow


def test_speed_by_flops_is_the_ledgers(measured):
    record, *_ = measured
    row = next(row for row in record["rows"] if row["attention"] == "shared" and row["length"] == 12)
    given = {"vocab_size": 31, "max_position_embeddings": 12, **dict(_pair(setting) for setting in SMALL)}
    both = [ledger(sizes.config({**given, "attention": name}), 12, 2) for name in ("dot_product", "shared")]
    training = [of["flops_per_token"]["training"] for of in both]
    assert row["training"]["speed_by_flops"] == training[0] / training[1]
    assert row["parameters"] == both[1]["parameters"]["total"]
    cost = tables.growth(record, row)
    assert cost[1] == training[1] / record["rows"][0]["flops_per_token"]["training"]


def test_slopes_are_those_of_power_laws(measured):
    assert slope([1, 2, 8], [3, 12, 192]) == pytest.approx(2)
    assert slope([2, 4, 8], [2, 1, 2]) == pytest.approx(0)
    with pytest.raises(ValueError, match="two different points"):
        slope([4, 4], [1, 2])
    record, told, _ = measured
    for row in record["rows"]:  # a token's time grows as the length's root
        for kind in ("training", "inference"):
            row[kind]["seconds"]["median"] = row["batch"] * row["length"] ** 1.5
    found = {cells[0]: cells for cells in slopes(record).rows}
    pair = [row for row in record["rows"] if row["attention"] == "shared"]
    flops = [row["flops_per_token"]["training"] for row in pair]
    assert found["shared"][1:5] == ["size mini", "length, 6 to 12", "0.50", f"{math.log2(flops[1] / flops[0]):.2f}"]
    assert "log-log" in told
    widths = [
        row | {"size": f"width {w}", "width": w, "length": 8, "batch": w} for w, row in zip((16, 64), pair, strict=True)
    ]
    for row in widths:
        row["training"]["seconds"]["median"] = float(row["width"]) ** 3
    assert [cells[1:4] for cells in slopes({"rows": widths}).rows] == [["length 8", "width, 16 to 64", "2.00"]]


def test_a_gpus_record_shows_absolute_times(measured, capsys):
    record, *_ = measured
    record["hardware"] |= {"device": "cuda", "gpu": "H200"}
    print_tables(record)
    assert "ms a step" in capsys.readouterr().out
    text = markdown(document(record, pictures(record)))
    assert "ms a step" in text and "FLOP/s" in text and "H200" in text


def test_one_size_and_length_needs_no_curve(measured):
    record, *_ = measured
    record["rows"] = record["rows"][:3]
    assert [picture.name for picture in pictures(record)] == ["training", "inference"]
    assert len(tables.tables(record)) == 1


@pytest.mark.skipif(not memory.MARKS.exists(), reason="the system keeps no peak")
def test_peak_memory_grows_with_the_batch():
    settings = sizes.settings("tiny", 64, 0.1, {"vocab_size": 101, "attention": "dot_product"})
    small, large = (memory.on_cpu(settings, 64, batch, False, 1, None) for batch in (2, 64))
    assert 0 < small < large
    with pytest.raises(ValueError, match="dot_product at length 64"):
        memory.on_cpu(settings | {"hidden_size": 127}, 64, 2, False, 1, None)


def test_out_of_memory_is_a_note(monkeypatch, command):
    class Hungry(mechanisms.Model):
        def train(self):
            if self.model.config.attention == "random":
                raise torch.OutOfMemoryError("CUDA out of memory")
            super().train()

    monkeypatch.setattr(mechanisms, "Model", Hungry)
    monkeypatch.setattr(memory, "on_cpu", lambda *_: None)
    status, out, err = command(*MECHANISMS, "--lengths", "6", "--attention", "random,shared", "--json")
    assert status == 0, err
    record = json.loads(out)
    assert [row["attention"] for row in record["rows"]] == ["dot_product", "shared"]
    assert "random" in record["notes"][0] and "not enough memory" in record["notes"][0]


def test_precisions_of_inference_take_turns(command, tmp_path):
    out = tmp_path / "out"
    given = ["--vocab-size", "31", "--tokens", "24", "--rounds", "2", "--threads", "1", *SET]
    status, told, err = command("bench", "inference", "--lengths", "6,12", *given, "--out", out)
    assert status == 0, err
    record = json.loads((out / "results.json").read_text())
    places = [(row["length"], row["precision"]) for row in record["rows"]]
    assert places == [(length, name) for length in (6, 12) for name in ("fp32", "autocast", "bf16", "int8")]
    for row in record["rows"]:
        assert row["speed"]["low"] <= row["speed"]["median"] <= row["speed"]["high"]
        assert (row["deviation"] == 0) == (row["precision"] == "fp32") and row["deviation"] < 0.1
    assert "int8" in told and (out / "figures" / "precisions.svg").is_file()
    refused(command("bench", "inference", "--precisions", "int9", *given), "did you mean 'int8'")


def test_base_is_bert_base():
    base = sizes.config(sizes.settings("base", 512, 0.1, {"vocab_size": 30522}))
    assert ledger(base, 512)["parameters"]["total"] == 109_514_298


# --- the machine's peak


def test_the_models_peak_is_the_flops_over_the_time_of_its_products(monkeypatch):
    rates = {(16, 16): 8.0, (16, 24): 4.0, (24, 16): 2.0, (16, 31): 1.0}
    monkeypatch.setattr(peak, "product", lambda rows, into, out, *_: rates[into, out])
    given = {"vocab_size": 31, "max_position_embeddings": 12, **dict(_pair(setting) for setting in SMALL)}
    config = sizes.config(given | {"num_hidden_layers": 2})
    found = peak.model(config, 36, 6, torch.device("cpu"), None)
    flops = [8 * 2 * 36 * 16 * 16, 2 * 2 * 36 * 16 * 24, 2 * 2 * 36 * 24 * 16, 2 * 6 * 16 * 31]
    assert found["products"] == {"attention": 8.0, "feed_forward_in": 4.0, "feed_forward_out": 2.0, "decoder": 1.0}
    assert found["model"] == sum(flops) / (flops[0] / 8 + flops[1] / 4 + flops[2] / 2 + flops[3])


def test_gates_groups_and_narrow_embeddings_have_products_of_their_own(monkeypatch):
    measured = []
    monkeypatch.setattr(peak, "product", lambda *sizes: measured.append(sizes[:3]) or float(len(measured)))
    given = {"vocab_size": 31, "max_position_embeddings": 12, **dict(_pair(setting) for setting in SMALL)}
    own = {"feed_forward": "gated", "feed_forward_groups": 4, "embedding_size": 5}
    known = {(36, 16, 16): 7.0}
    config = sizes.config(given | own)
    found = peak.model(config, 36, 6, torch.device("cpu"), None, known)
    assert measured == [(36, 4, 6), (36, 6, 4), (6, 5, 31), (36, 5, 16)]
    flops = [8 * 36 * 16 * 16, 2 * 4 * 2 * 36 * 4 * 6, 4 * 2 * 36 * 6 * 4, 2 * 6 * 5 * 31, 2 * 36 * 5 * 16]
    rates = [7.0, 1.0, 2.0, 3.0, 4.0]
    assert found["model"] == sum(flops) / sum(a / b for a, b in zip(flops, rates, strict=True))
    assert sum(flops[1:3]) == 36 * ledger(config, 12)["flops_per_token"]["feed_forward"]
    mixing = sizes.config(given | {"mixer": "convolution", "mixer_options": {"kernel": 3}})
    assert peak.model(mixing, 36, 6, torch.device("cpu"), None) == {"products": None, "model": None}
    assert peak.share([2.0], None) is None and peak.share([2.0], 4.0) == rounds.spread([0.5])


# --- rounds


def test_candidates_take_turns():
    order = []
    turns = {name: lambda name=name: order.append(name) or float(len(order)) for name in "ab"}
    ticks = []
    assert rounds.alternate(turns, 2, lambda: ticks.append(1)) == {"a": [1.0, 3.0], "b": [2.0, 4.0]}
    assert order == ["a", "b", "a", "b"] and len(ticks) == 4
    assert rounds.ratio([6.0, 2.0, 9.0], [2.0, 2.0, 1.0]) == {"median": 3.0, "low": 1.0, "high": 9.0}


# --- peers


def test_all_candidates_read_what_leanformer_reads(benchmark):
    """Beyond the end of an epoch too."""
    n = benchmark.corpus.train.sequences(benchmark.length)
    benchmark = replace(benchmark, steps=4 * (n // benchmark.batch // 4 + 1))
    settings = TrainingSettings(
        max_steps=benchmark.all_steps, batch_size=benchmark.batch, sequence_length=benchmark.length
    )
    objective = MaskedLM(benchmark.corpus, settings)
    for step in (0, 1, n // benchmark.batch, benchmark.all_steps - 1):
        rows = [benchmark.examples[i] for i in range(step * benchmark.batch, (step + 1) * benchmark.batch)]
        tokens = np.stack([row["input_ids"] for row in rows])
        inputs, labels = entry.masked(tokens, [row["example"] for row in rows], benchmark)
        (batch,) = objective.micro_batches(step, 0, 1)
        expected = torch.full_like(labels, -100).scatter_(1, batch["masked_positions"], batch["labels"])
        assert torch.equal(inputs, batch["input_ids"]) and torch.equal(labels, expected)
    assert (
        len({row["example"][0] for row in (benchmark.examples[0], benchmark.examples[len(benchmark.examples) - 1])})
        == 2
    )


def test_the_race(command, data, tmp_path, recipe):
    pytest.importorskip("x_transformers", exc_type=ImportError)
    out = tmp_path / "out"
    given = ("--peers", "bert,modernbert-sparse,x-transformers", "--attention", "dot_product,shared")
    status, told, err = command(*RACE, "--data", data, *given, "--precision", "fp32", "--recipe", recipe, "--out", out)
    assert status == 0, err
    record = json.loads((out / "results.json").read_text())
    assert record["notes"] == [] and record["versions"]["x-transformers"]
    own = ["leanformer dot_product fp32", "leanformer shared fp32", "leanformer slim fp32"]
    names = ["bert fp32", "modernbert-sparse fp32", "x-transformers fp32", *own]
    assert [one["name"] for one in record["candidates"]] == names
    for one in record["candidates"]:
        assert len(one["tokens_per_second"]) == 2 and set(one["speed"]) == set(names) - {one["name"]}
        assert one["share_of_square"]["low"] > 0 and one["peer"] == (one["name"] not in own)
        assert one["share_of_model"]["low"] > 0
    first, second = (record["candidates"][i] for i in (0, 3))
    ratios = [b / a for a, b in zip(first["tokens_per_second"], second["tokens_per_second"], strict=True)]
    assert second["speed"]["bert fp32"] == rounds.spread(ratios)
    assert first["useful_flops_per_token"] == second["useful_flops_per_token"]
    assert "/ bert fp32" in told and "tokens/s" not in told
    assert (out / "figures" / "peers.svg").is_file() and "modernbert-sparse" in (out / "report.md").read_text()
    refused(command(*RACE, "--data", data, "--out", out), "something here already")


@pytest.fixture
def recipe(tmp_path) -> Path:
    file = tmp_path / "slim.toml"
    file.write_text(
        '[model]\nhidden_size = 32\nintermediate_size = 16\npositions = "rotary"\n'
        "[training]\nmax_tokens = 99\nmask_rate = 0.3\nfinal_mask_rate = 0.15\n"
    )
    return file


def test_a_recipe_is_benchmarked_at_the_benchmarks_size(benchmark):
    model = sizes.of_size({"hidden_size": 32, "intermediate_size": 48, "positions": "rotary"}, benchmark.sizes)
    assert model == {"intermediate_size": 24, "positions": "rotary"}
    own = ours.Own(model=model, training=TrainingSettings(mask_rate=0.3, final_mask_rate=0.15), bf16=False)
    config, settings = own.config(benchmark), own.settings(benchmark)
    assert (config.hidden_size, config.intermediate_size, config.positions) == (16, 24, "rotary")
    assert (settings.mask_rate, settings.final_mask_rate, settings.batch_size) == (0.15, None, 3)


def test_a_missing_peer_is_a_note(command, data, monkeypatch):
    """ModernBERT turns pairs of a head's numbers, so it has no heads of five."""
    monkeypatch.setattr(plain_loop, "find_spec", lambda name: None)
    odd = ("--set", "model.hidden_size=10", "--set", "model.num_attention_heads=2")
    given = ("--peers", "modernbert,x-transformers", "--precision", "fp32", "--json")
    status, out, err = command(*RACE, "--data", data, *odd, *given)
    assert status == 0, err
    record = json.loads(out)
    assert [one["name"] for one in record["candidates"]] == ["leanformer dot_product fp32"]
    assert "RuntimeError" in record["notes"][0] and how_to_install("bench") in record["notes"][1]
    assert [picture.name for picture in pictures(record)] == ["peers"]


@pytest.mark.parametrize(("entry", "tuned", "expected"), [("bert", False, 0), ("bert", True, 1), ("own", False, 1)])
def test_peers_are_set_up_as_their_users_find_them(benchmark, monkeypatch, entry, tuned, expected):
    calls = []
    monkeypatch.setattr(peers, "prepare_cpu", calls.append)
    own = ours.Own(model={}, training=TrainingSettings(), bf16=False)
    peers.candidate(own if entry == "own" else entry, benchmark, False, peers.Setup(threads=1, tuned=tuned))
    assert calls == [1] * expected


def test_a_process_answers_fails_and_ends():
    process = processes.Process(partial, math.sqrt)
    assert process(4) == 2.0
    with pytest.raises(RuntimeError, match="^ValueError: "):
        process(-4)
    assert process(9) == 3.0
    process.close()
    process = processes.Process(partial, os._exit)
    with pytest.raises(RuntimeError, match="^its process ended with status 3$"):
        process(3)
    process.close()


def test_a_corpus_is_opened_anew_by_another_process(benchmark):
    packed = pickle.dumps(benchmark)
    assert len(packed) < 2000
    assert pickle.loads(packed).corpus.hash == benchmark.corpus.hash


# --- mistakes


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["mechanisms", "--sizes", "nano"], ["nano", "tiny"]),
        (["mechanisms", "--lengths", "1e3"], ["--lengths"]),
        (["mechanisms", "--lengths", "0"], ["length 0", "positive"]),
        (["mechanisms", "--attention", "pairwse"], ["did you mean 'pairwise'"]),
        (["mechanisms", "--precision", "bf15"], ["did you mean 'bf16'"]),
        (["mechanisms", "--rounds", "0"], ["rounds = 0"]),
        (["mechanisms", "--set", "model.hiden_size=3"], ["hidden_size"]),
        (["mechanisms", "--set", "training.optimizer=adamw", "--set", "training.batch_size=3"], ["bench peers"]),
        (["peers", "--peers", "berd"], ["did you mean 'bert'"]),
        (["peers", "--precision", "fp16"], ["--precision fp16"]),
        (["peers", "--data", "nowhere"], ["nowhere", "leanformer prepare"]),
    ],
)
def test_mistakes_are_one_line(command, arguments, words):
    refused(command("bench", *arguments), *words)


def test_mistakes_about_the_race_are_one_line(command, data, tmp_path):
    given = ("bench", "peers", "--data", data)
    refused(command(*given, "--steps", "9"), "multiple of 4")
    refused(command(*given, "--vocab-size", "3"), "--vocab-size 3")
    (tmp_path / "causal.toml").write_text('[training]\nobjective = "causal_lm"\n')
    refused(command(*given, "--recipe", tmp_path / "causal.toml"), "causal_lm")
    if not torch.cuda.is_available():
        refused(command(*given, "--device", "cuda"), "no GPU")


def _pair(setting: str) -> tuple[str, int]:
    key, _, value = setting.partition("=")
    return key, int(value)
