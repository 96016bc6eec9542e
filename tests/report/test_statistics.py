import math

import numpy as np
import pytest
from scipy import stats

from leanformer.report.statistics import (
    detectable_difference,
    holm,
    paired_difference,
    sd_factor,
    spread,
    with_holm,
)


def test_three_pairs_by_hand():
    # mean 2, sd 1, standard error 1 / sqrt 3, t = 2 sqrt 3 = 3.4641; t_{0.975, 2} = 4.30265
    d = paired_difference([1.0, 2.0, 3.0])
    assert (d.n, d.mean, d.sd) == (3, 2.0, 1.0)
    assert d.ci95 == pytest.approx((2 - 4.30265 / math.sqrt(3), 2 + 4.30265 / math.sqrt(3)), abs=1e-4)
    assert d.p_value == pytest.approx(0.0742, abs=1e-4)


@pytest.mark.parametrize("n", [2, 3, 5, 11])
def test_interval_and_p_value_are_scipys(n):
    rng = np.random.default_rng(n)
    ours, theirs = rng.normal(1.8, 0.03, n), rng.normal(1.81, 0.03, n)
    expected = stats.ttest_rel(ours, theirs)
    found = paired_difference(list(ours - theirs))
    interval = expected.confidence_interval(0.95)
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-9)
    assert found.ci95 == pytest.approx((interval.low, interval.high), rel=1e-9)


def test_holm_by_hand():
    # sorted 0.01, 0.03, 0.04 times 3, 2, 1 = 0.03, 0.06, 0.04; made monotone 0.03, 0.06, 0.06
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.6]) == [1.0, 1.0]
    assert holm([]) == []


def test_what_was_not_tested_is_no_member_of_the_family():
    assert holm([None, 0.02, None, 0.04]) == [None, 0.04, None, 0.04]


def test_one_pair_has_no_interval_and_no_p_value():
    d = paired_difference([0.3])
    assert (d.n, d.mean, d.sd, d.ci95, d.p_value) == (1, 0.3, None, None, None)
    assert "no interval" in d.note
    assert with_holm([d])[0].verdict(higher_is_better=False) == "not tested"


def test_no_pair_has_nothing():
    d = paired_difference([])
    assert (d.n, d.mean, d.p_value) == (0, None, None)


def test_identical_runs_are_not_distinguishable():
    (d,) = with_holm([paired_difference([0.0, 0.0, 0.0])])
    assert (d.mean, d.ci95, d.p_value_holm) == (0.0, None, 1.0)
    assert d.verdict(higher_is_better=False) == "not distinguishable"


@pytest.mark.parametrize("differences", [[0.5, 0.5, 0.5], [0.1 + 0.2, 0.3, 0.3]])
def test_without_spread_there_is_no_test_however_large_the_difference(differences):
    d = paired_difference(differences)
    assert d.p_value is None and d.ci95 is None
    assert "seeds took effect" in d.note


def test_the_corrected_p_value_decides_not_the_raw_one():
    weak = paired_difference([-0.010, -0.012, -0.004, -0.001])
    assert weak.p_value is not None and 0.025 < weak.p_value < 0.1
    strong = paired_difference([-1.0, -1.01, -0.99, -1.0])
    family = with_holm([strong, *[paired_difference([0.1, -0.1, 0.2, -0.2])] * 2])
    assert family[0].verdict(higher_is_better=False) == "better"
    borderline = paired_difference([-0.010, -0.012, -0.004, -0.003])
    assert borderline.p_value is not None and borderline.p_value < 0.05
    alone, crowded = with_holm([borderline])[0], with_holm([borderline, borderline, borderline])[0]
    assert alone.verdict(higher_is_better=False) == "better"
    assert crowded.verdict(higher_is_better=False) == "not distinguishable"


def test_better_depends_on_the_direction_of_the_metric():
    (d,) = with_holm([paired_difference([1.0, 1.01, 0.99])])
    assert d.verdict(higher_is_better=True) == "better"
    assert d.verdict(higher_is_better=False) == "worse"


def test_spread_says_what_it_has():
    assert spread([]).mean is None
    assert (spread([2.0]).mean, spread([2.0]).sd, spread([2.0]).ci95) == (2.0, None, None)
    three = spread([1.0, 2.0, 6.0])
    assert (three.mean, three.least, three.greatest) == (3.0, 1.0, 6.0)
    assert three.sd == pytest.approx(math.sqrt((4 + 1 + 9) / 2))


@pytest.mark.parametrize(("n", "alpha"), [(5, 0.05), (8, 0.05 / 3), (20, 0.05)])
def test_the_detectable_difference_has_the_power_it_claims(n, alpha):
    sd = 0.02
    found = detectable_difference(sd, n, alpha, power=0.8)
    shift, bar = found / (sd / math.sqrt(n)), stats.t.isf(alpha / 2, n - 1)
    power = stats.nct.sf(bar, n - 1, shift) + stats.nct.cdf(-bar, n - 1, shift)
    assert power == pytest.approx(0.8, abs=2e-3)


def test_few_seeds_detect_little():
    two, three, ten = (detectable_difference(1.0, n) for n in (2, 3, 10))
    assert two > three > ten > 0
    assert detectable_difference(1.0, 1) is None
    assert detectable_difference(0.0, 5) is None


def test_what_a_difference_detects_is_stricter_in_a_family():
    alone = paired_difference([0.1, 0.2, 0.4, 0.2])
    family = with_holm([alone, alone, paired_difference([1.0])])
    assert (family[0].family, family[0].detectable) == (2, alone.detectable)
    assert family[0].detectable_holm == detectable_difference(alone.sd, 4, 0.025) > alone.detectable
    assert paired_difference([1.0]).detectable is None


def test_the_bootstrap_begins_at_eight_seeds():
    values = list(np.random.default_rng(1).normal(1, 2, 8))
    assert paired_difference(values[:7]).bootstrap95 is None
    found = paired_difference(values).bootstrap95
    assert found == paired_difference(values).bootstrap95  # the same each time
    other = stats.bootstrap((values,), np.mean, method="BCa", n_resamples=20000, rng=np.random.default_rng(9))
    assert found == pytest.approx((other.confidence_interval.low, other.confidence_interval.high), abs=0.1)
    assert paired_difference([0.5] * 9).bootstrap95 is None and paired_difference([0.0] * 9).bootstrap95 is None


def test_the_bootstrap_covers_though_a_little_less_than_it_says():
    """Of the mean of nine normal numbers: known to fall short of 95 % at such sizes, t does not."""
    rng, inside = np.random.default_rng(2), []
    for _ in range(150):
        low, high = paired_difference(list(rng.normal(size=9))).bootstrap95
        inside.append(low <= 0 <= high)
    assert 0.83 < np.mean(inside) < 0.98


def test_the_true_sd_may_be_this_much_larger():
    # chi2_{0.025, 2} = 0.0506: sqrt(2 / 0.0506) = 6.285
    assert sd_factor(3) == pytest.approx(6.285, abs=1e-3)
    assert sd_factor(3) > sd_factor(8) > 1
