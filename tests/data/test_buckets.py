"""Which examples meet in which batch."""

import numpy as np
import pytest

from leanformer.data.buckets import POOL, Budget, evaluation_batches, inference_batches, training_rows

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


def test_an_endless_stream_begins_as_a_long_one():
    endless = np.stack([training_rows(LENGTHS, BATCH, None, 5, step) for step in range(60)])
    assert (endless[: 60 - 60 % POOL] == rows_of(61)[: 60 - 60 % POOL]).all()


@pytest.mark.parametrize("padding", [0, 11, 10**9])
@pytest.mark.parametrize("tokens", [1, 50, 96, 1000, 10**6])
def test_inference_fills_a_budget_shortest_first(tokens: int, padding: int):
    """Every example once, in order of length; no batch exceeds the budget, and the next example would."""

    def within(rows: np.ndarray) -> bool:
        longest = LENGTHS[rows].max()
        return len(rows) * longest <= tokens and (longest - LENGTHS[rows]).sum() <= padding

    batches = inference_batches(LENGTHS, Budget(tokens, padding))
    order = np.concatenate(batches)
    assert sorted(order) == list(range(len(LENGTHS)))
    assert (np.diff(LENGTHS[order]) >= 0).all()
    for i, rows in enumerate(batches):
        assert len(rows) == 1 or within(rows)
        assert i + 1 == len(batches) or not within(np.append(rows, batches[i + 1][0]))


def test_inference_takes_empty_examples_and_none_at_all():
    assert [list(rows) for rows in inference_batches(np.array([0, 3, 0]), Budget(3, 9))] == [[0, 2], [1]]
    assert inference_batches(np.array([], dtype=np.int64)) == []
