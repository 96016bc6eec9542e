"""Tiny models of all kinds, as folders that save_pretrained wrote."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import leanformer.models as models
from leanformer.attention import mechanism
from leanformer.models.saved import quiet

WORDS = "The old house by river where nobody had lived for years we went home again . ,"
SIZES = {
    "vocab_size": 101,
    "hidden_size": 30,
    "num_attention_heads": 3,
    "num_hidden_layers": 2,
    "intermediate_size": 37,
    "max_position_embeddings": 29,
    "bos_token_id": 2,
    "eos_token_id": 3,
    "decoder_start_token_id": 2,
}
Saved = Callable[..., Path]


@pytest.fixture(scope="session")
def tokenizer(tokenizer_of) -> Any:
    return tokenizer_of(WORDS)


@pytest.fixture(scope="session")
def saved(tmp_path_factory, tokenizer) -> Saved:
    """A model of a class and settings, its weights random, saved in float32 with the tokenizer."""

    def save(kind: str = "LeanformerForMaskedLM", attention: str = "dot_product", **settings: Any) -> Path:
        positions = {"positions": "rotary"} if mechanism(attention).rotary else {}
        if mechanism(attention).rotary or settings.get("positions") == "rotary":
            settings = {"head_size": 10} | settings
        config = models.LeanformerConfig(**SIZES | positions | {"attention": attention, "num_labels": 3} | settings)
        torch.manual_seed(1)
        model = getattr(models, kind)(config)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.normal_(std=0.2)
        folder = tmp_path_factory.mktemp("saved")
        with quiet():
            model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return folder

    return save
