"""The rule of a plan's sizes, against values computed by hand."""

from math import exp

import pytest

from leanformer.training.budget import scaling


def test_repeated_text_counts_less_than_new_text():
    assert scaling.effective(700, 1000) == 700
    assert scaling.effective(4000, 1000) == pytest.approx(1000 + 15_400 * (1 - exp(-3 / 15.4)))
    assert scaling.effective(4000, 1000) == pytest.approx(3726, abs=1)  # nearly as good as 4,000 new tokens
    assert scaling.effective(10**9, 1000) == pytest.approx(16_400)


def test_another_epoch_at_the_most_tokens_is_worth_a_part_of_1_over_e():
    most = scaling.most_tokens(1000)
    slope = scaling.effective(most + 1, 1000) - scaling.effective(most, 1000)
    assert most == pytest.approx(16_400) and slope == pytest.approx(1 / exp(1), rel=1e-3)


@pytest.mark.parametrize(
    ("tokens", "place"),
    [
        ([10**6] * 3, 0),  # even the smallest is too large
        ([60 * 10**6] * 3, 1),  # 60, 20, 4 tokens per parameter
        ([900 * 10**6, 300 * 10**6, 200 * 10**6], 2),  # 900, 100, 13.3: the ratios to 20 are 45, 5 and 1.5
    ],
)
def test_the_size_with_about_twenty_tokens_per_parameter_is_the_best(tokens, place):
    assert scaling.best_size([10**6, 3 * 10**6, 15 * 10**6], tokens, 10**10) == place


def test_a_small_text_makes_a_small_model():
    """2 M tokens read as often as helps are worth 21.5 M: a model of 1.07 M parameters."""
    tokens = [int(scaling.most_tokens(2e6))] * 3
    assert scaling.best_size([10**6, 3 * 10**6, 9 * 10**6], tokens, 2e6) == 0
    assert scaling.effective(tokens[0], 2e6) == pytest.approx(2e6 * (1 + 15.4 * (1 - exp(-1))))


@pytest.mark.parametrize(
    ("tokens", "sequences", "size"),
    [
        (8e6, 10**6, 32),
        (32e6, 10**6, 64),
        (30e6, 10**6, 64),
        (1e5, 10**6, 16),
        (1e12, 10**6, 512),
        (1e12, 100, 64),
        (8e6, 11, 8),
    ],
)
def test_the_batch_grows_with_the_square_root_of_the_tokens(tokens, sequences, size):
    assert scaling.batch_size(32, 8e6, tokens, sequences) == size


@pytest.mark.parametrize(("batch", "first"), [(32, 8), (128, 32), (16, 8), (4, 4)])
def test_a_batch_begins_with_the_recipes_part_of_it(batch, first):
    assert scaling.first_batch_size(8, 32, batch) == first


def test_the_rate_falls_with_the_square_root_of_the_width():
    assert scaling.learning_rate(1e-3, 256, 256) == 1e-3
    assert scaling.learning_rate(1e-3, 256, 768) == 5.77e-4
    assert scaling.learning_rate(1e-3, 256, 64) == 2e-3


def test_the_warmup_is_the_recipes_part_but_at_most_two_thousand_steps():
    assert scaling.warmup(0.05, 1000, 0.999) == 0.05
    assert scaling.warmup(0.05, 100_000, 0.999) == 0.02
    assert scaling.warmup(0.05, 100_000, 0.98) == 0.001
