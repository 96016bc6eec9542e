"""A tiny pre-trained model, and a task that can be learned."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from transformers import PreTrainedTokenizerBase

from leanformer.models import LeanformerConfig, LeanformerForMaskedLM, saved
from leanformer.models.initialisation import initialise
from leanformer.settings import FinetuningSettings, Settings

WORDS = [f"w{i}" for i in range(24)]  # 29 tokens with the special ones


@pytest.fixture(scope="session")
def make_model(tokenizer_of: Callable[[str], PreTrainedTokenizerBase]) -> Callable[..., Path]:
    """A folder of save_pretrained at RUN/model, with initial values; RUN is returned."""

    def make(run: Path, **changes: object) -> Path:
        sizes = dict(hidden_size=22, num_hidden_layers=2, num_attention_heads=11, intermediate_size=37)
        config = LeanformerConfig(**(dict(vocab_size=29, max_position_embeddings=19) | sizes | changes))
        model = LeanformerForMaskedLM(config)
        initialise(model, 3)
        with saved.quiet():
            model.save_pretrained(run / "model")
            tokenizer_of(" ".join(WORDS)).save_pretrained(run / "model")
        return run

    return make


@pytest.fixture(scope="session")
def run(make_model: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="session")
def glue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """sst2: positive if w1 occurs, negative if w0 does. stsb: how many words of w0 .. w4 are w1. mnli, rte: pairs."""
    folder = tmp_path_factory.mktemp("glue")
    random = np.random.default_rng(11)

    def text(signal: str) -> str:
        words = [WORDS[i] for i in random.integers(5, 24, random.integers(2, 13))]
        words[random.integers(len(words))] = signal
        return " ".join(words)

    def write(task: str, split: str, rows: list[dict]) -> None:
        (folder / task).mkdir(exist_ok=True)
        (folder / task / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    for split, size in (("train", 331), ("validation", 101)):
        labels = random.integers(0, 2, size).tolist()
        write("sst2", split, [{"sentence": text(WORDS[label]), "label": label} for label in labels])
        scores = random.integers(0, 5, size).tolist()
        rows = [{"sentence1": text(WORDS[s]), "sentence2": text("w9"), "label": float(s)} for s in scores]
        write("stsb", split, rows)
    for split in ("train", "validation_matched", "validation_mismatched"):
        rows = [{"premise": text("w1"), "hypothesis": text("w2"), "label": int(i)} for i in random.integers(0, 3, 23)]
        write("mnli", split, rows)
    return folder


@pytest.fixture(scope="session")
def quick() -> Callable[..., Settings]:
    """Settings that learn the tasks above in seconds."""

    def make(**changes: object) -> Settings:
        small: dict = dict(epochs=6, batch_size=17, max_length=19, learning_rate=1e-2, threads=1, precision="fp32")
        return Settings(finetuning=FinetuningSettings(**(small | changes)))

    return make
