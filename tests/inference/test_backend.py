"""The same answers from every backend and in batches of every size."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from leanformer import LeanformerForMultipleChoice, LeanformerForSequenceClassification
from leanformer.data.buckets import Budget
from leanformer.evaluation import prediction, sentence_encoder
from leanformer.exporting import cached_graph
from leanformer.inference import backend, embed, predict
from leanformer.models import saved

RANDOM = np.random.default_rng(5)
TEXTS = [" ".join(f"w{i}" for i in RANDOM.integers(0, 24, n)) for n in [3, 16, 1, 9, 17, 40, 2, 2, 11, 0, 5]]


@pytest.fixture
def lines(tmp_path) -> Path:
    (tmp_path / "lines.txt").write_text("\n".join(TEXTS) + "\n")
    return tmp_path / "lines.txt"


@pytest.fixture
def mine(run, tmp_path) -> Path:
    return Path(shutil.copytree(run, tmp_path / "mine"))


@pytest.fixture
def classifier(run, tmp_path) -> Path:
    """A model of three labels."""
    folder = tmp_path / "classifier"
    config = saved.config_of(run / "model")
    config.num_labels = 3
    torch.manual_seed(3)
    model = LeanformerForSequenceClassification(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
    with saved.quiet():
        model.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(run / "model" / name, folder / name)
    return folder


def vectors(run: Path, lines: Path, **how: str) -> np.ndarray:
    out = lines.with_name("vectors.npy")
    embed(run, [lines], out, **how)
    return np.load(out)


def probabilities(run: Path, lines: Path, **how: str) -> np.ndarray:
    return np.array([list(answer["probabilities"].values()) for answer in predict(run, [lines], **how)])


@pytest.mark.parametrize("attention", ["dot_product", "shared", "random", "symmetric+relative_bias"])
def test_answers_do_not_depend_on_the_batch(make_model, lines, tmp_path, monkeypatch, attention):
    run = make_model(tmp_path / "run", attention=attention)
    found = []
    for tokens in (1, 20, 64, 10**6):
        monkeypatch.setattr(sentence_encoder, "budget_on", lambda _, n=tokens: Budget(n, n))
        found.append(vectors(run, lines))
    for others in found[1:]:
        np.testing.assert_allclose(others, found[0], rtol=0, atol=1e-6)


def test_probabilities_do_not_depend_on_the_batch(classifier, lines, monkeypatch):
    found = []
    for tokens in (1, 20, 10**6):
        monkeypatch.setattr(prediction, "budget_on", lambda _, n=tokens: Budget(n, n))
        found.append(probabilities(classifier, lines))
    assert found[0].std(0).min() > 1e-3
    for others in found[1:]:
        np.testing.assert_allclose(others, found[0], rtol=0, atol=1e-6)


@pytest.mark.parametrize("pooling", ["mean", "cls", "max"])
def test_the_graph_of_an_encoder_gives_its_vectors(mine, lines, pooling):
    expected = vectors(mine, lines, pooling=pooling)
    np.testing.assert_allclose(vectors(mine, lines, pooling=pooling, backend="onnx"), expected, rtol=0, atol=1e-5)
    graph = mine / "model" / "onnx" / "encoder" / "graph.onnx"
    assert graph.is_file() and not graph.with_name("graph_int8.onnx").exists()


def test_a_graph_is_made_once_and_again_for_other_weights(mine, lines, make_model, monkeypatch):
    made = []
    make = cached_graph._make
    monkeypatch.setattr(cached_graph, "_make", lambda *a, **how: made.append(a[2].name) or make(*a, **how))
    first = vectors(mine, lines, backend="onnx")
    np.testing.assert_array_equal(vectors(mine, lines, backend="onnx"), first)
    assert made == ["encoder"]
    other = make_model(mine.with_name("other"), hidden_size=11)
    for name in ("model.safetensors", "config.json"):
        shutil.copy(other / "model" / name, mine / "model" / name)
    assert vectors(mine, lines, backend="onnx").shape == (len(TEXTS), 11)
    assert made == ["encoder", "encoder"]


def test_the_graph_of_a_classifier_gives_its_probabilities(classifier, lines):
    expected = probabilities(classifier, lines)
    np.testing.assert_allclose(probabilities(classifier, lines, backend="onnx"), expected, rtol=0, atol=1e-5)
    small = probabilities(classifier, lines, precision="int8")
    assert (small != expected).any() and np.abs(small - expected).max() < 0.1
    assert (classifier / "onnx" / "whole" / "graph_int8.onnx").is_file()


def test_int8_says_what_it_costs(mine, lines, tmp_path, command):
    status, out, _ = command("embed", mine, lines, "--out", tmp_path / "v.npy", "--precision", "int8")
    assert status == 0 and "backend: onnx" in out and "int8: outputs on text differ by" in out
    cost = json.loads((mine / "model/onnx/encoder/graph.json").read_text())["int8"]
    difference = np.abs(np.load(tmp_path / "v.npy") - vectors(mine, lines))
    assert 0 < difference.mean() < 2 * cost["mean_difference"] < 0.1 * cost["sd_of_outputs"]


def test_bf16_is_torch_where_it_is_native(mine, lines, monkeypatch):
    monkeypatch.setattr(backend, "autocast_dtype", lambda *_: None)
    with pytest.raises(ValueError, match="--precision bf16 would be emulated"):
        vectors(mine, lines, precision="bf16")
    monkeypatch.setattr(backend, "autocast_dtype", lambda *_: torch.bfloat16)
    difference = np.abs(vectors(mine, lines, precision="bf16") - vectors(mine, lines))
    assert 1e-5 < difference.max() < 0.05


def refused(do: Callable[[], object], message: str) -> None:
    with pytest.raises((ValueError, OSError), match=message) as caught:
        do()
    assert "\n" not in str(caught.value)


def test_mistakes_are_one_line(mine, lines, tmp_path, monkeypatch):
    refused(lambda: vectors(mine, lines, backend="onxn"), "--backend onxn: did you mean 'onnx'")
    refused(lambda: vectors(mine, lines, precision="int4"), "--precision int4: did you mean 'int8'")
    refused(lambda: vectors(mine, lines, backend="onnx", precision="bf16"), "take --backend torch for --precision bf16")
    refused(lambda: list(predict(mine, [lines], backend="onnx")), "fills masks, which --backend torch does faster")
    with saved.quiet():
        LeanformerForMultipleChoice(saved.config_of(mine / "model")).save_pretrained(tmp_path / "choices")
    refused(lambda: cached_graph.open_graph(tmp_path / "choices", "whole"), "scores choices, which no graph is kept")
    (mine / "model" / "onnx").touch()
    refused(lambda: vectors(mine, lines, backend="onnx"), "copy the model to a folder of your own, or take --backend t")
    monkeypatch.setattr("leanformer.exporting.graph.find_spec", lambda _: None)
    refused(lambda: vectors(mine, lines, backend="onnx"), "ONNX needs onnx, onnxscript, onnxruntime, not installed")
