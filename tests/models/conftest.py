"""A tiny model in distinct, mostly prime sizes, so that no transposition survives, with no weight at zero or one."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn

from leanformer import LeanformerConfig
from leanformer.attention import mechanism

SIZES = {
    "vocab_size": 101,
    "hidden_size": 30,
    "num_attention_heads": 3,
    "num_hidden_layers": 2,
    "intermediate_size": 37,
    "max_position_embeddings": 29,
    "type_vocab_size": 3,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}


@pytest.fixture(autouse=True)
def quiet_and_repeatable() -> None:
    transformers.utils.logging.disable_progress_bar()
    torch.manual_seed(1)


@pytest.fixture
def tiny() -> Callable[..., LeanformerConfig]:
    """Positions are learned, unless the attention needs rotary ones or the test says so."""

    def config(attention: str = "dot_product", **settings: Any) -> LeanformerConfig:
        positions = {"positions": "rotary"} if mechanism(attention).rotary else {}
        return LeanformerConfig(**SIZES | positions | {"attention": attention} | settings)

    return config


@pytest.fixture
def tokenizer(tokenizer_of: Callable[[str], Any]) -> Any:
    """As long as the tiny model reads."""
    words = tokenizer_of("the cat sat on mat dog saw")
    words.model_max_length = SIZES["max_position_embeddings"]
    return words


@pytest.fixture
def scattered() -> Callable[[nn.Module], Any]:
    """A model in eval mode whose every weight is random."""

    def scatter(model: nn.Module) -> nn.Module:
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.normal_(std=0.2)
        return model.eval()

    return scatter


@pytest.fixture
def aligned() -> Callable[[nn.Module], Any]:
    """A loaded model whose weights begin where allocated ones do; in a mapped file they begin anywhere.

    The last bit of a matrix product depends on that on some processors, of the values nothing does.
    """

    def align(model: nn.Module) -> nn.Module:
        for parameter in model.parameters():
            parameter.data = parameter.data.clone()
        return model

    return align


@pytest.fixture
def batch() -> dict[str, Tensor]:
    """Three sequences of 11 tokens in three segments, the last 4 of one sequence and the first 2 of another padding."""
    attention_mask = torch.ones(3, 11, dtype=torch.long)
    attention_mask[1, 7:] = 0
    attention_mask[2, :2] = 0
    return {
        "input_ids": torch.randint(1, 101, (3, 11)),
        "attention_mask": attention_mask,
        "token_type_ids": torch.randint(0, 3, (3, 11)),
    }


@pytest.fixture
def posed() -> Callable[[nn.Module, dict[str, Tensor]], dict[str, Tensor]]:
    """The batch as this model reads it: where it chooses, a sequence and the one before are its two choices."""

    def pose(model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        if not type(model).__name__.endswith("MultipleChoice"):
            return batch
        return {name: torch.stack((x, x.roll(1, dims=0)), dim=1) for name, x in batch.items()}

    return pose
