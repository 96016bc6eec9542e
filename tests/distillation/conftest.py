"""Tiny teachers and students in distinct, mostly prime sizes, every weight random."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from leanformer import LeanformerConfig
from leanformer.attention import mechanism
from leanformer.models import LeanformerForMaskedLM
from tests.training.conftest import corpus, curve, fork_server, interrupted, make_corpus, settings

__all__ = ["corpus", "curve", "interrupted", "make_corpus", "fork_server", "settings"]

SIZES: dict[str, Any] = {
    "vocab_size": 41,
    "hidden_size": 30,
    "num_attention_heads": 3,
    "num_hidden_layers": 2,
    "intermediate_size": 19,
    "max_position_embeddings": 13,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}


@pytest.fixture
def model() -> Callable[..., LeanformerForMaskedLM]:
    def make(attention: str = "dot_product", seed: int = 1, std: float = 0.3, **settings: Any) -> LeanformerForMaskedLM:
        positions = {"positions": "rotary"} if mechanism(attention).rotary else {}
        made = LeanformerForMaskedLM(LeanformerConfig(**SIZES | positions | {"attention": attention} | settings))
        torch.manual_seed(seed)
        with torch.no_grad():
            for parameter in made.parameters():
                parameter.normal_(std=std)
        return made

    return make


@pytest.fixture
def batch() -> dict[str, Tensor]:
    """Two texts, the second of 7 tokens and 4 of padding."""
    attention_mask = torch.ones(2, 11, dtype=torch.long)
    attention_mask[1, 7:] = 0
    ids = torch.randint(1, 41, (2, 11), generator=torch.Generator().manual_seed(3))
    return {"input_ids": ids, "attention_mask": attention_mask}
