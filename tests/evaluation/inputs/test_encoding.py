"""What the model is given of an example."""

from collections.abc import Callable

import numpy as np
import torch

from leanformer.data.examples import Examples
from leanformer.evaluation.inputs.encoding import encode


def test_a_pair_is_joined_cut_and_padded_to_the_longest(tokenizer_of: Callable):
    words = tokenizer_of("a b c d e")  # five special tokens come first: a is 5
    examples = Examples([("a b", "c"), ("a a a a a a", "b b"), ("e", "")], np.array([1, 0, 1]))
    encoded = encode(words, examples, max_length=8)
    assert encoded.lengths.tolist() == [6, 8, 4]
    assert encoded.truncated == 1
    batch = encoded.batch(np.array([2, 0]))
    cls, sep, pad = words.cls_token_id, words.sep_token_id, words.pad_token_id
    assert batch["input_ids"].tolist() == [[cls, 9, sep, sep, pad, pad], [cls, 5, 6, sep, 7, sep]]
    assert batch["token_type_ids"].tolist() == [[0, 0, 0, 1, 0, 0], [0, 0, 0, 0, 1, 1]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1]]
    assert batch["labels"].tolist() == [1, 1]
    assert encoded.batch(np.array([1]))["input_ids"].tolist() == [[cls, 5, 5, 5, sep, 6, 6, sep]]


def test_numbers_are_float32_labels(tokenizer_of: Callable):
    encoded = encode(tokenizer_of("a"), Examples([("a",)], np.array([2.5])), max_length=8)
    assert encoded.batch(np.array([0]))["labels"].dtype == torch.float32
