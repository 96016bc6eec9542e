"""Chance and the statistics of a suite, by hand."""

import numpy as np
import pytest

from leanformer.report.suite import interquartile_mean, probability_of_improvement, resampled


def test_interquartile_mean_by_hand():
    assert interquartile_mean(np.array([[0.0, 1.0], [2.0, 9.0]])) == pytest.approx(1.5)


def test_probability_of_improvement_by_hand():
    """Of the four pairs 1-0, 1-2, 2-0, 2-2: won, lost, won, tied."""
    assert probability_of_improvement(np.array([[1.0], [2.0]]), np.array([[0.0], [2.0]])) == 2.5 / 4


def test_the_same_scores_are_an_even_chance_in_every_resample():
    scores = np.arange(6.0).reshape(3, 2)
    assert resampled(probability_of_improvement, scores, scores) == pytest.approx((0.5, 0.5))
