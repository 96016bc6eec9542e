"""Answer over HTTP with an exported model, without leanformer and without PyTorch.

    leanformer export RUN DST --format onnx
    MODEL=DST uvicorn --app-dir examples serve:app        (packages onnxruntime, tokenizers, fastapi, uvicorn)

    curl -s localhost:8000/predict -H "Content-Type: application/json" -d '{"texts": ["a lovely dinner"]}'

A classifier answers at /predict, an encoder at /embed. Texts of one request are one batch; a longer text than the model
reads is cut, and the answer says so.
"""

import json
import os
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import onnxruntime
from fastapi import FastAPI, HTTPException
from numpy.typing import NDArray
from pydantic import BaseModel, Field
from tokenizers import Encoding, Tokenizer

folder = Path(os.environ["MODEL"])
config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
tokenizer.enable_truncation(config["max_position_embeddings"])
tokenizer.enable_padding(pad_id=config["pad_token_id"])
graph = "model_int8.onnx" if (folder / "model_int8.onnx").exists() else "model.onnx"
session = onnxruntime.InferenceSession(folder / graph)
app = FastAPI(title=folder.name)


class Texts(BaseModel):
    texts: Annotated[list[Annotated[str, Field(max_length=100_000)]], Field(min_length=1, max_length=256)]


@app.get("/health")
def health() -> dict[str, Any]:
    return {"model": folder.name, "graph": graph, "answers": [output.name for output in session.get_outputs()]}


@app.post("/predict")
def predict(request: Texts) -> list[dict[str, Any]]:
    """Returns for every text its label, or for several labels all above one half, and the probability of each."""
    scores, encoded = run(request.texts, "logits")
    if scores.ndim != 2 or scores.shape[1] < 2:
        raise HTTPException(404, "this model is no classifier of whole texts")
    names = [config["id2label"][str(number)] for number in range(scores.shape[1])]
    several = config.get("problem_type") == "multi_label_classification"
    exponentials = np.exp(scores - scores.max(1, keepdims=True))
    chances = 1 / (1 + np.exp(-scores)) if several else exponentials / exponentials.sum(1, keepdims=True)
    answers = []
    for row, encoding in zip(chances.tolist(), encoded, strict=True):
        scored = dict(zip(names, row, strict=True))
        label = [name for name in names if scored[name] > 0.5] if several else max(names, key=scored.__getitem__)
        answers.append({"label": label, "scores": scored, "truncated": bool(encoding.overflowing)})
    return answers


@app.post("/embed")
def embed(request: Texts) -> list[list[float]]:
    """Returns the mean of every text's last hidden states, as `leanformer embed` does."""
    states, encoded = run(request.texts, "last_hidden_state")
    weights = np.array([encoding.attention_mask for encoding in encoded])[..., None]
    return ((states * weights).sum(1) / weights.sum(1)).tolist()


def run(texts: list[str], output: str) -> tuple[NDArray[np.float32], list[Encoding]]:
    """Returns one output of the graph for a batch, and the tokens of every text."""
    if output not in [each.name for each in session.get_outputs()]:
        raise HTTPException(404, f"this model gives no {output}")
    encoded = tokenizer.encode_batch(texts)
    columns = {
        "input_ids": [encoding.ids for encoding in encoded],
        "attention_mask": [encoding.attention_mask for encoding in encoded],
        "token_type_ids": [encoding.type_ids for encoding in encoded],
    }
    wanted = [each.name for each in session.get_inputs()]
    (found,) = session.run([output], {name: np.array(columns[name], dtype=np.int64) for name in wanted})
    return found, encoded
