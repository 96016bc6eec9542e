"""The example server answers what the model answers, in a process without PyTorch and leanformer."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.testing import assert_close
from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer

from leanformer.exporting.export import export

pytest.importorskip("fastapi")
pytest.importorskip("onnxscript")
EXAMPLES = Path(__file__).parents[2] / "examples"
TEXTS = ["the old house", "we went home again by the river where nobody had lived for years"]
ASK = """
import json, sys
sys.modules["torch"] = sys.modules["leanformer"] = sys.modules["transformers"] = None
from fastapi.testclient import TestClient
import serve
client = TestClient(serve.app)
answers = [client.get("/health")] + [client.post(place, json=body) for place, body in json.loads(sys.stdin.read())]
print(json.dumps([[answer.status_code, answer.json()] for answer in answers]))
"""


def asked(folder, *requests):
    """The status and the answer of /health and of every request."""
    environment = {"MODEL": str(folder), "PYTHONPATH": str(EXAMPLES), "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", ASK], input=json.dumps(requests), env=environment, text=True,
        capture_output=True, check=True,
    )  # fmt: skip
    return json.loads(done.stdout)


def outputs(folder, auto):
    tokenizer, model = AutoTokenizer.from_pretrained(folder), auto.from_pretrained(folder).eval()
    inputs = tokenizer(TEXTS, padding=True, return_tensors="pt")
    with torch.no_grad():
        return inputs, model(**inputs)


@pytest.mark.parametrize("several", [False, True])
def test_a_classifier_answers_over_http(saved, tmp_path, several):
    problem = "multi_label_classification" if several else "single_label_classification"
    names = {0: "bad", 1: "good", 2: "so so"}
    run = saved("LeanformerForSequenceClassification", id2label=names, problem_type=problem)
    export(run, tmp_path / "graph", "onnx")
    long = " ".join(["house"] * 60)
    health, whole, cut, none, wrong = asked(
        tmp_path / "graph", ("/predict", {"texts": TEXTS}), ("/predict", {"texts": [long]}),
        ("/predict", {"texts": []}), ("/embed", {"texts": TEXTS}),
    )  # fmt: skip
    logits = outputs(run, AutoModelForSequenceClassification)[1].logits
    chances = logits.sigmoid() if several else logits.softmax(-1)
    assert health == [200, {"model": "graph", "graph": "model.onnx", "answers": ["logits"]}]
    for answer, row in zip(whole[1], chances, strict=True):
        assert_close(torch.tensor([answer["scores"][names[i]] for i in range(3)]), row, rtol=1e-4, atol=1e-5)
        likely = [names[i] for i in range(3) if row[i] > 0.5]
        assert answer["label"] == (likely if several else names[int(row.argmax())]) and not answer["truncated"]
    assert (
        cut[1][0]["truncated"]
        and none[0] == 422
        and wrong == [404, {"detail": "this model gives no last_hidden_state"}]
    )


def test_an_encoder_answers_with_vectors(saved, tmp_path):
    run = saved("LeanformerModel")
    export(run, tmp_path / "graph", "onnx")
    _, vectors, wrong = asked(tmp_path / "graph", ("/embed", {"texts": TEXTS}), ("/predict", {"texts": TEXTS}))
    inputs, found = outputs(run, AutoModel)
    weights = inputs["attention_mask"][..., None]
    expected = (found.last_hidden_state * weights).sum(1) / weights.sum(1)
    assert_close(torch.from_numpy(np.float32(vectors[1])), expected, rtol=1e-4, atol=1e-4)
    assert wrong[0] == 404
