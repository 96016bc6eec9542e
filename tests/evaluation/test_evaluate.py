"""Perplexity of masked tokens: by hand, on text and on a data directory, and what it refuses."""

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from leanformer.data import tokenizer_files
from leanformer.data.prepare import prepare
from leanformer.evaluation import pretrained
from leanformer.evaluation.evaluate import evaluate
from leanformer.finetuning.classifier import load_classifier
from leanformer.models import LeanformerForMaskedLM, saved
from leanformer.training.run.record import RunDirectory

TEXT = "\n\n".join(" ".join(f"w{(i * j) % 24}" for j in range(1, 41)) for i in range(1, 60))


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "held-out.txt"
    path.write_text(TEXT)
    return path


@pytest.fixture(scope="module")
def data(run: Path, text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same text as training and as validation split, with the run's tokenizer."""
    out = tmp_path_factory.mktemp("data") / "data"
    prepare([str(text)], out, tokenizer=str(run / "model"), valid=[str(text)], quiet=True)
    return out


def weights(run: Path, value: float) -> None:
    """Sets all of them: with zeros every token is equally likely."""
    model = pretrained.load(run / "model", "masked_lm")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(value)
    with saved.quiet():
        model.save_pretrained(run / "model")


def test_a_model_that_knows_nothing_has_the_perplexity_of_its_vocabulary(make_model: Callable, text, tmp_path: Path):
    run = make_model(tmp_path / "run")
    weights(run, 0.0)
    result = evaluate(run, "perplexity", text)
    assert result["loss"] == pytest.approx(math.log(29), rel=1e-6)
    assert result["perplexity"] == pytest.approx(29, rel=1e-5)
    tokens = 59 * 42
    assert (result["sequence_length"], result["sequences"]) == (19, tokens // 19)
    assert 0.9 * 3 * (tokens // 19) <= result["targets"] <= 3 * (tokens // 19)  # 15 % of 19 are 3, fewer at [CLS] [SEP]


def test_text_and_data_directory_agree(run: Path, text: Path, data: Path):
    from_text, from_data = (evaluate(run, "perplexity", source) for source in (text, data))
    for key in ("loss", "targets", "sequences", "sequence_length"):
        assert from_text[key] == from_data[key]
    assert from_text["no_context_baseline"] is None
    assert 0 < from_data["no_context_baseline"] < math.log(24) < from_data["loss"]


def test_the_loss_is_the_mean_over_masked_tokens(run: Path, text: Path, monkeypatch: pytest.MonkeyPatch):
    """Recomputed from all the logits, without the masked-only head."""
    asked = []
    original = LeanformerForMaskedLM.forward

    def spy(self, input_ids, *, masked_positions, labels, **kwargs):
        with torch.no_grad():
            logits = original(self, input_ids).logits.double().log_softmax(-1)
        for row, positions, targets in zip(logits, masked_positions, labels, strict=True):
            asked.extend(-row[p, t].item() for p, t in zip(positions, targets, strict=True) if t != -100)
        return original(self, input_ids, masked_positions=masked_positions, labels=labels, **kwargs)

    monkeypatch.setattr(LeanformerForMaskedLM, "forward", spy)
    result = evaluate(run, "perplexity", text)
    assert len(asked) == result["targets"]
    assert result["loss"] == pytest.approx(np.mean(asked), rel=2e-3)  # bf16 where the hardware has it


def test_it_repeats_and_uses_the_length_of_training(make_model: Callable, text: Path, tmp_path: Path):
    run = make_model(tmp_path / "run")
    whole = evaluate(run, "perplexity", text)
    assert evaluate(run, "perplexity", text) == whole
    RunDirectory(run).write({"settings": {"training": {"sequence_length": 7}}})
    assert evaluate(run, "perplexity", text)["sequence_length"] == 7
    assert evaluate(run / "model", "perplexity", text)["loss"] == whole["loss"]


def test_every_domain_has_a_row(run: Path, text: Path, data: Path):
    one, other = (evaluate(run, "perplexity", source) for source in (text, data))
    both = evaluate(run, "perplexity", [text, data])
    assert [row["data"] for row in both["domains"]] == [str(text), str(data)]
    for row, alone in zip(both["domains"], (one, other), strict=True):
        assert {key: alone[key] for key in row} == row


def test_an_unknown_suite_is_refused(run: Path, text: Path):
    with pytest.raises(ValueError, match="unknown suite 'perplexty': did you mean 'perplexity'"):
        evaluate(run, "perplexty", text)


def test_bad_data_are_refused(run: Path, data: Path, make_model: Callable, tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="nowhere.txt"):
        evaluate(run, "perplexity", tmp_path / "nowhere.txt")
    (tmp_path / "short.txt").write_text("w1 w2 w3")
    with pytest.raises(ValueError, match=r"short\.txt has 5 held-out tokens, not one sequence of 19"):
        evaluate(run, "perplexity", tmp_path / "short.txt")
    (tmp_path / "folder").mkdir()
    with pytest.raises(FileNotFoundError, match=r"not a data directory"):
        evaluate(run, "perplexity", tmp_path / "folder")


def test_data_of_another_tokenizer_are_refused(
    make_model: Callable, tokenizer_of: Callable, data: Path, tmp_path: Path
):
    run = make_model(tmp_path / "run")
    tokenizer_files.save(tokenizer_of(" ".join(f"w{i}" for i in range(23, -1, -1))), run / "model")
    with pytest.raises(ValueError, match="was prepared with another tokenizer"):
        evaluate(run, "perplexity", data)


def test_a_model_that_is_no_masked_language_model_is_refused(run: Path, text: Path, tmp_path: Path):
    from leanformer.data.tasks import task

    with saved.quiet():
        load_classifier(run / "model", task("sst2"), 1).save_pretrained(tmp_path / "model")
    for file in (run / "model").glob("tokenizer*"):
        shutil.copy(file, tmp_path / "model")
    with pytest.raises(ValueError, match="holds no masked language model, head.* is missing"):
        evaluate(tmp_path, "perplexity", text)


def test_a_model_of_nan_is_refused(make_model: Callable, text: Path, tmp_path: Path):
    run = make_model(tmp_path / "run")
    weights(run, math.nan)
    with pytest.raises(ArithmeticError, match="not finite"):
        evaluate(run, "perplexity", text)
    assert json.loads((run / "model" / "config.json").read_text())["model_type"] == "leanformer"
