"""Seeds crossed with items: against the formula by hand, a mixed model's exact cases, and its rate of errors."""

import numpy as np
import pytest
from scipy import stats

from leanformer.records.scores import Losses
from leanformer.reporting.numbers.crossed import FEWEST_DOCUMENTS, crossed, difference


def losses(sums: np.ndarray, targets: np.ndarray, documents: np.ndarray | None = None) -> Losses:
    sequences = np.arange(len(sums))
    return Losses(np.asarray(sums, float), targets, sequences, sequences if documents is None else documents)


def test_the_sums_of_squares_by_hand():
    """Two seeds, three items, one target each: S = [[1, 2, 3], [3, 2, 7]].

    d_i = 2 and 4, d = 3; A = 2, so A/n = 1. Items' means 2, 2, 5: B = 3, so B/m = 1. The doubly centred table is
    [[0, 1, -1], [0, -1, 1]], E = 4/2 = 2, so E/nm = 1/3. V = 1 + 1 - 1/3 = 5/3.
    df = (25/9) / (1/1 + 1/2 + (1/9)/2) = (25/9) / (14/9) = 25/14.
    """
    found = difference(np.array([[1.0, 2, 3], [3, 2, 7]]), np.ones(3))
    assert found.mean == pytest.approx(3)
    assert found.seeds_error == pytest.approx(1) and found.items_error == pytest.approx(1)
    assert found.standard_error**2 == pytest.approx(5 / 3)
    assert found.df == pytest.approx(25 / 14)
    assert found.per_seed == pytest.approx((2, 4))


def test_where_the_text_adds_no_error_it_is_the_paired_t_test():
    of_seed, targets = np.array([0.1, 0.3, -0.2, 0.25]), np.full(5, 7)
    found = difference(of_seed[:, None] * targets, targets)
    test = stats.ttest_1samp(of_seed, 0)
    assert found.mean / found.standard_error == pytest.approx(test.statistic)
    assert found.df == pytest.approx(3)


def test_where_the_seeds_add_no_error_it_is_the_t_test_over_items():
    of_item = np.array([0.1, 0.3, -0.2, 0.25, 0.9, -0.4])
    found = difference(np.tile(of_item, (3, 1)), np.ones(6))
    test = stats.ttest_1samp(of_item, 0)
    assert found.mean / found.standard_error == pytest.approx(test.statistic)
    assert found.df == pytest.approx(5)


@pytest.mark.parametrize("seeds_sd, items_sd", [(0.0, 0.5), (0.03, 0.0), (0.03, 0.5)])
def test_the_intervals_hold_the_truth_as_often_as_they_say(seeds_sd: float, items_sd: float):
    """4,000 crossed samples in which nothing differs: the 95 % interval misses 0 in about 5 %."""
    random, n, m, times = np.random.default_rng(7), 5, 60, 4000
    targets = random.integers(5, 11, m)
    missed = 0
    for _ in range(times):
        a = random.normal(0, seeds_sd, (n, 1))
        b = random.normal(0, items_sd, m)
        e = random.normal(0, 0.3, (n, m))
        found = difference((a + b + e) * targets, targets)
        missed += abs(found.mean) / found.standard_error > stats.t.isf(0.025, found.df)
    assert 0.02 < missed / times < 0.06


def test_seeds_alone_claim_too_much_where_the_text_is_small():
    """What the crossed interval is for: with 40 items the interval over seeds misses the truth far too often."""
    random, n, m, times = np.random.default_rng(3), 5, 40, 500
    over_seeds = 0
    for _ in range(times):
        sums = random.normal(0, 0.01, (n, 1)) + random.normal(0, 0.3, m) + random.normal(0, 0.1, (n, m))
        over_seeds += stats.ttest_1samp(sums.mean(1), 0).pvalue < 0.05
    assert over_seeds / times > 0.3


def test_items_are_documents_where_there_are_enough():
    random, targets = np.random.default_rng(0), np.full(120, 10)
    documents = np.arange(120) // 4
    ours, theirs = ([losses(random.normal(20, 2, 120), targets, documents) for _ in range(3)] for _ in range(2))
    found = crossed(ours, theirs)
    assert found is not None and (found.item, found.items) == ("document", FEWEST_DOCUMENTS)
    sums = np.stack([(a.losses - b.losses).reshape(-1, 4).sum(1) for a, b in zip(ours, theirs, strict=True)])
    assert found.standard_error == pytest.approx(difference(sums, np.full(30, 40)).standard_error)
    few = [one._replace(documents=np.minimum(documents, 20)) for one in (*ours, *theirs)]
    found = crossed(few[:3], few[3:])
    assert found is not None and (found.item, found.items) == ("sequence", 120)


def test_runs_scored_on_other_targets_are_not_crossed():
    one = losses(np.ones(4), np.full(4, 3))
    other = losses(np.ones(4), np.array([3, 3, 3, 2]))
    assert crossed([one, one], [one, other]) is None
    assert crossed([one], [one]) is None
