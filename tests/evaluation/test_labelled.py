"""Scores on another labelled file are those of fine-tuning on the same file, and labels must be known."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from leanformer.evaluation.evaluate import evaluate
from leanformer.finetuning.finetune import finetune_own


def rows(random: np.random.Generator, kind: str, count: int) -> list[dict]:
    found = []
    for i in range(count):
        words = [f"w{n}" for n in random.integers(5, 24, 5)]
        if kind == "single":
            found.append({"text": " ".join([*words, f"w{i % 2}"]), "label": f"c{i % 2}"})
        elif kind == "multi":
            found.append({"text": " ".join(words), "label": [["a"], ["a", "b"], []][i % 3]})
        elif kind == "regression":
            found.append({"text": " ".join(words), "label": i / 2})
        elif kind == "tokens":
            found.append({"tokens": words, "tags": ["O", "B-A", "I-A", "O", "B-B"]})
        else:
            answers = {"text": [words[0]] if i % 2 else [], "answer_start": [0] if i % 2 else []}
            found.append({"question": "w3", "context": " ".join(words), "answers": answers})
    return found


def write(path: Path, found: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in found))
    return path


@pytest.mark.parametrize("kind", ["single", "multi", "regression", "tokens", "questions"])
def test_scores_are_those_of_the_test_file(run: Path, quick: Callable, tmp_path: Path, kind: str):
    random = np.random.default_rng(5)
    data, test = (write(tmp_path / f"{name}.jsonl", rows(random, kind, n)) for name, n in (("data", 60), ("test", 31)))
    settings = quick(epochs=0.5)
    record = finetune_own(run, data, tmp_path / "out", settings, test=test, quiet=True)
    assert record["own"]["kind"] == kind
    found = evaluate(tmp_path / "out", "labels", test)
    expected = record["results"]["test"]
    assert {name: found[name] for name in expected["metrics"]} == pytest.approx(expected["metrics"], abs=1e-6)
    model = record["results"]["baselines"]["test"]["systems"][0]
    assert (found["score"], found["low"], found["high"]) == pytest.approx(
        (model["score"], model["low"], model["high"]), abs=1e-6
    )
    assert found["examples"] == 31 and found["notes"] == []
    seen = evaluate(tmp_path / "out", "labels", data)
    trained = record["data"]["examples"]["train"]
    (note,) = seen["notes"]
    assert note.startswith(f"{trained} of 60 evaluated rows have a text of training, too")
    data.rename(tmp_path / "moved.jsonl")
    (note,) = evaluate(tmp_path / "out", "labels", test)["notes"]
    assert note.startswith("whether texts are also training texts is unknown") and "data.jsonl: no such file" in note
    if kind == "single":
        other = write(tmp_path / "other.jsonl", [{"text": "w5", "label": "c7"}])
        with pytest.raises(ValueError, match=r"other.jsonl, line 1: the model does not know the label 'c7': drop"):
            evaluate(tmp_path / "out", "labels", other)
        with pytest.raises(ValueError, match=r"model is no run of leanformer finetune --data"):
            evaluate(tmp_path / "out" / "model", "labels", test)
