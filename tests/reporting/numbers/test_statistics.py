import math

import numpy as np
import pytest
from scipy import stats

from leanformer.reporting.numbers.statistics import (
    PairedDifference,
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


def test_identical_runs_have_no_spread_to_test_against():
    (d,) = with_holm([paired_difference([0.0, 0.0, 0.0], margin=0.03)])
    assert (d.mean, d.ci95, d.p_value_holm, d.p_equivalence_holm) == (0.0, None, None, None)
    assert d.verdict(higher_is_better=False) == "not tested" and "all 3 pairs are identical" in d.note


@pytest.mark.parametrize("differences", [[0.01, -0.004, 0.012], [0.05, 0.02, 0.04, 0.01], [-0.02, -0.021, 0.03]])
def test_equivalence_is_two_one_sided_t_tests(differences):
    above = stats.ttest_1samp(differences, -0.03, alternative="greater").pvalue
    below = stats.ttest_1samp(differences, 0.03, alternative="less").pvalue
    found = paired_difference(differences, margin=0.03)
    assert found.p_equivalence == pytest.approx(max(above, below), rel=1e-9)
    interval = stats.ttest_1samp(differences, 0).confidence_interval(0.90)
    assert found.ci90 == pytest.approx((interval.low, interval.high), rel=1e-9)


def test_equivalence_is_the_90_percent_interval_within_the_margin():
    rng, seen = np.random.default_rng(4), set()
    for _ in range(300):
        d = paired_difference(list(rng.normal(0.01, 0.02, 5)), margin=0.03)
        inside = d.ci90[0] > -0.03 and d.ci90[1] < 0.03
        assert (d.p_equivalence < 0.05) == inside
        seen.add(inside)
    assert seen == {True, False}


def test_a_difference_follows_from_its_mean_its_standard_error_and_its_degrees_of_freedom():
    # t = 0.02 / 0.01 = 2 with 3.5 degrees of freedom, as an analysis with crossed sources of chance may have them
    d = PairedDifference(5, 0.02, 0.01, 3.5, margin=0.03)
    assert d.p_value == pytest.approx(2 * stats.t(3.5).sf(2))
    assert d.ci95 == pytest.approx(stats.t(3.5, 0.02, 0.01).interval(0.95))
    assert d.p_equivalence == pytest.approx(stats.t(3.5).sf(1))  # (0.03 - 0.02) / 0.01
    assert d.detectable == detectable_difference(0.01, 3.5)


@pytest.mark.parametrize(
    ("differences", "margin", "verdict"),
    [
        ([0.001, -0.002, 0.002, 0.000], 0.03, "equivalent"),
        ([0.010, 0.011, 0.009, 0.010], 0.03, "equivalent"),  # though measurably worse
        ([0.010, 0.011, 0.009, 0.010], None, "worse"),
        ([0.100, 0.110, 0.090, 0.100], 0.03, "worse"),
        ([-0.100, -0.110, -0.090, -0.100], 0.03, "better"),
        ([0.100, -0.110, 0.090, -0.050], 0.03, "undecided"),
        ([0.001, -0.002, 0.002, 0.000], None, "undecided"),
    ],
)
def test_the_verdicts(differences, margin, verdict):
    (d,) = with_holm([paired_difference(differences, margin=margin)])
    assert d.verdict(higher_is_better=False) == verdict


def test_holm_corrects_equivalence_over_its_family():
    one = paired_difference([0.005, 0.027, 0.015, 0.011], margin=0.03)
    assert 0.0125 < one.p_equivalence < 0.05
    alone, *crowd = with_holm([one])[0], *with_holm([one] * 4)
    assert alone.verdict(higher_is_better=False) == "equivalent"
    assert [d.p_equivalence_holm for d in crowd] == pytest.approx([4 * one.p_equivalence] * 4)
    assert {d.verdict(higher_is_better=False) for d in crowd} != {"equivalent"}


@pytest.mark.parametrize(("truth", "wrong"), [(0.0, ("better", "worse")), (0.03, ("equivalent",))])
def test_verdicts_are_wrong_in_one_of_twenty_at_most(truth, wrong):
    """2,000 comparisons with five seeds, at no difference and at one just as large as the margin. At 5 %, fewer than
    132 errors are seen with probability 0.999; with so small an sd, the test of equivalence comes near its 5 %."""
    rng = np.random.default_rng(7)
    found = [with_holm([paired_difference(list(row), margin=0.03)])[0] for row in rng.normal(truth, 0.01, (2000, 5))]
    # Without the margin's test, an equivalence may hide a difference: count what the two tests themselves say.
    errors = sum(d.p_equivalence_holm < 0.05 if "equivalent" in wrong else d.differs for d in found)
    assert 60 < errors < 132
    assert sum(d.verdict(higher_is_better=False) in wrong for d in found) <= errors


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
    assert crowded.verdict(higher_is_better=False) == "undecided"


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
    found = detectable_difference(sd / math.sqrt(n), n - 1, alpha, power=0.8)
    shift, bar = found / (sd / math.sqrt(n)), stats.t.isf(alpha / 2, n - 1)
    power = stats.nct.sf(bar, n - 1, shift) + stats.nct.cdf(-bar, n - 1, shift)
    assert power == pytest.approx(0.8, abs=2e-3)


def test_few_seeds_detect_little():
    two, three, ten = (detectable_difference(1 / math.sqrt(n), n - 1) for n in (2, 3, 10))
    assert two > three > ten > 0
    assert detectable_difference(None, None) is None
    assert detectable_difference(0.0, 4) is None


def test_what_a_difference_detects_is_stricter_in_a_family():
    alone = paired_difference([0.1, 0.2, 0.4, 0.2])
    family = with_holm([alone, alone, paired_difference([1.0])])
    assert (family[0].family, family[0].detectable) == (2, alone.detectable)
    assert family[0].detectable_holm == detectable_difference(alone.standard_error, 3, 0.025) > alone.detectable
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
    assert sd_factor(2) == pytest.approx(6.285, abs=1e-3)
    assert sd_factor(2) > sd_factor(7) > 1
