"""Multiple choice: which sequences are read, and the softmax over their scores."""

import math
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from leanformer.data.examples import Examples
from leanformer.evaluation.inputs.choices import Choices, encode

EXAMPLES = Examples([("a b", "c", "d e a"), ("a", "b b", "c"), ("c c c c c c", "d", "e")], np.array([1, 0, 1]))


@pytest.fixture
def encoded(tokenizer_of: Callable) -> Choices:
    return encode(tokenizer_of("a b c d e"), EXAMPLES, max_length=8)


class Length(nn.Module):
    """The score of a choice: log of the number of tokens."""

    def forward(self, attention_mask: torch.Tensor, **_: torch.Tensor) -> SimpleNamespace:
        return SimpleNamespace(logits=attention_mask.sum(-1).float().log())


def test_each_choice_is_read_with_the_text(encoded: Choices, tokenizer_of: Callable):
    tokenizer = tokenizer_of("a b c d e")
    batch = encoded.batch(np.array([1, 0]))
    assert [tokenizer.decode(ids).replace(" [PAD]", "") for ids in batch["input_ids"].flatten(0, 1)] == [
        "[CLS] a [SEP] b b [SEP]",
        "[CLS] a [SEP] c [SEP]",
        "[CLS] a b [SEP] c [SEP]",
        "[CLS] a b [SEP] d e a [SEP]",
    ]
    assert batch["token_type_ids"][0, 0].tolist() == [0, 0, 0, 1, 1, 1, 0, 0]
    assert batch["labels"].tolist() == [0, 1]
    assert encoded.lengths.tolist() == [6 + 8, 6 + 5, 8 + 8]
    assert encoded.truncated == 1  # six of c, and two choices: one example


def test_a_softmax_over_the_choices_decides(encoded: Choices):
    """p = lengths over their sum: 6/14 and 8/14, 6/11 and 5/11, 1/2 and 1/2."""
    batch = encoded.batch(np.arange(3))
    logits = encoded.logits(Length(), batch)
    probabilities = torch.tensor([[6 / 14, 8 / 14], [6 / 11, 5 / 11], [1 / 2, 1 / 2]])
    torch.testing.assert_close(logits.softmax(1), probabilities)
    expected = [-math.log(8 / 14), -math.log(6 / 11), -math.log(1 / 2)]
    torch.testing.assert_close(encoded.losses(logits, batch["labels"]), torch.tensor(expected))
    assert encoded.read(logits.numpy()).predictions.tolist() == [1, 0, 0]


def test_no_room_is_said(tokenizer_of: Callable):
    with pytest.raises(ValueError, match=r"max_length = 3: 3 special tokens leave no room"):
        encode(tokenizer_of("a"), EXAMPLES, max_length=3)
