"""Which examples meet in which batch, and what the model is given."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from leanformer.data.examples import Examples
from leanformer.evaluation.batches import POOL, evaluation_batches, training_rows
from leanformer.evaluation.encoding import encode

LENGTHS = np.random.default_rng(3).integers(3, 97, 211)
BATCH = 7


def rows_of(steps: int, seed: int = 5, lengths: np.ndarray = LENGTHS, batch_size: int = BATCH) -> np.ndarray:
    return np.stack([training_rows(lengths, batch_size, steps, seed, step) for step in range(steps)])


@pytest.mark.parametrize("epochs", [1, 2, 3])
def test_every_example_is_read_once_an_epoch(epochs: int):
    lengths = LENGTHS[: 30 * BATCH]
    counts = np.bincount(rows_of(30 * epochs, lengths=lengths).ravel(), minlength=len(lengths))
    assert (counts == epochs).all()


@pytest.mark.parametrize("steps", [1, POOL - 1, POOL, POOL + 1, 61])
def test_no_example_is_read_twice_before_all_are_read_once(steps: int):
    counts = np.bincount(rows_of(steps).ravel(), minlength=len(LENGTHS))
    assert counts.sum() == steps * BATCH
    assert counts.max() - counts.min() <= 1


def test_batches_may_be_larger_than_the_data():
    assert np.bincount(training_rows(LENGTHS[:3], 7, 1, 5, 0)).sum() == 7


def test_rows_are_a_function_of_seed_and_step():
    assert (rows_of(61) == rows_of(61)).all()
    assert (training_rows(LENGTHS, BATCH, 61, 5, 44) == rows_of(61)[44]).all()
    assert (rows_of(61) != rows_of(61, seed=6)).any()
    assert (rows_of(60)[:30] != rows_of(60)[30:]).any()


def test_batches_are_tight_and_not_sorted():
    """Pools sorted by length waste little; the longest batches do not come in a row."""
    rows = rows_of(30)
    longest = LENGTHS[rows].max(1)
    assert (longest * BATCH).sum() < 1.25 * LENGTHS[rows].sum()
    assert np.corrcoef(longest[:POOL], np.arange(POOL))[0, 1] < 0.5


def test_evaluation_takes_every_example_once_shortest_first():
    batches = evaluation_batches(LENGTHS, BATCH)
    order = np.concatenate(batches)
    assert sorted(order) == list(range(len(LENGTHS)))
    assert (np.diff(LENGTHS[order]) >= 0).all()


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
