"""Sentences per second of every model, and of the original in other libraries, in one run in turns.

Speed is the original's time in sentence-transformers over a candidate's own, in the same round: process time of one
thread, so that other programs matter little. All encode the same sentences, from text to vectors, in batches of 32
sorted by length.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModel, AutoTokenizer

from experiments.real_models.quality import in_precision
from leanformer.bench.rounds import alternate, ratio, spread, turn
from leanformer.evaluation.sentence_encoder import SentenceEncoder
from leanformer.exporting.graph_check import Session
from leanformer.exporting.onnx_files import SMALL, WHOLE

ROUNDS, BATCH = 5, 32
Encode = Callable[[Sequence[str]], Any]


def speeds(original: Path, models: Mapping[str, Path], graphs: Mapping[str, Path], texts: list[str]) -> list[Any]:
    """Returns a row per candidate: `model`, `form`, `speed` and sentences per second.

    `models` are folders of leanformer's, `graphs` folders with their ONNX exports, by name.
    """
    candidates: dict[tuple[str, str], Encode] = {
        ("original", "sentence-transformers"): _sentence_transformers(original),
        ("original", "transformers"): _transformers(original),
    }
    for name, place in models.items():
        encoder = SentenceEncoder.open(place)
        candidates[name, "leanformer"] = encoder.vectors
        candidates[name, "leanformer int8"] = in_precision(encoder, "int8").vectors
    for name, folder in graphs.items():
        for form, file in (("onnx", WHOLE), ("onnx int8", SMALL)):
            if (folder / file).is_file():
                candidates[name, form] = _graph(folder, folder / file)
    cpu, threads = torch.device("cpu"), torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for encode in candidates.values():
            encode(texts[:BATCH])
        turns = {key: turn(lambda encode=encode: encode(texts), 1, cpu) for key, encode in candidates.items()}
        times = alternate(turns, ROUNDS, lambda: None)  # type: ignore[arg-type, type-var]
    finally:
        torch.set_num_threads(threads)
    first = next(iter(times.values()))
    return [
        {"model": model, "form": form, "speed": ratio(first, own), "per_second": len(texts) / spread(own)["median"]}
        for (model, form), own in times.items()  # type: ignore[misc]
    ]


def _sentence_transformers(place: Path) -> Encode:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(place), device="cpu")
    return lambda texts: model.encode(list(texts), batch_size=BATCH, show_progress_bar=False)


@torch.inference_mode()
def _pooled(run: Callable[[Any], Any], tokenizer: Any, texts: Sequence[str], longest: int) -> Any:
    """Returns normalised means of the last states, in batches sorted by length."""
    order = np.argsort([-len(text) for text in texts], kind="stable")
    found = []
    for start in range(0, len(texts), BATCH):
        rows = [texts[i] for i in order[start : start + BATCH]]
        inputs = tokenizer(rows, padding=True, truncation=True, max_length=longest, return_tensors="pt")
        states, mask = run(inputs), inputs["attention_mask"][..., None].float()
        found.append(torch.nn.functional.normalize((states * mask).sum(1) / mask.sum(1), dim=-1).numpy())
    return np.concatenate(found)[np.argsort(order)]


def _transformers(place: Path) -> Encode:
    model, tokenizer = AutoModel.from_pretrained(place).eval(), AutoTokenizer.from_pretrained(place)
    longest = min(tokenizer.model_max_length, model.config.max_position_embeddings)
    return lambda texts: _pooled(lambda inputs: model(**inputs).last_hidden_state, tokenizer, texts, longest)


def _graph(folder: Path, file: Path) -> Encode:
    session, tokenizer = Session(file), AutoTokenizer.from_pretrained(folder)
    place = "sentence_embedding" if "sentence_embedding" in session.outputs else "last_hidden_state"

    def encode(texts: Sequence[str]) -> Any:
        order = np.argsort([-len(text) for text in texts], kind="stable")
        found = []
        for start in range(0, len(texts), BATCH):
            rows = [texts[i] for i in order[start : start + BATCH]]
            inputs = tokenizer(rows, padding=True, truncation=True, max_length=256, return_tensors="pt")
            found.append(session({name: inputs[name] for name in session.inputs})[place])
        return np.concatenate(found)[np.argsort(order)]

    return encode
