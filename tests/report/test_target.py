import math

import pytest

from leanformer.report.target import first_crossing, target

CURVE = [(0, 4.0), (100, 3.0), (200, 2.0), (300, 2.5), (400, 1.0)]


@pytest.mark.parametrize(
    ("loss", "tokens"),
    [
        (3.5, 50.0),  # halfway between 4 and 3
        (3.0, 100.0),  # exactly on a measurement
        (2.25, 175.0),  # the first crossing, not the second
        (1.75, 350.0),  # 2.5 -> 1.0: halfway
        (4.0, 0.0),  # there from the start
        (9.0, 0.0),
    ],
)
def test_the_first_crossing_is_interpolated_linearly(loss, tokens):
    assert first_crossing(CURVE, loss) == pytest.approx(tokens)


def test_a_run_that_never_arrives_is_censored():
    assert first_crossing(CURVE, 0.9) is None
    assert first_crossing([], 0.9) is None
    assert first_crossing([(100, math.nan), (200, math.nan)], 5.0) is None


def test_there_is_no_interpolating_from_a_loss_that_is_no_number():
    assert first_crossing([(0, math.inf), (100, 1.0)], 2.0) == 100


def test_the_target_is_a_fraction_of_what_the_baseline_learned():
    assert target(3.0, 2.0, 0.95).loss == pytest.approx(2.05)
    assert target(3.0, 2.0, 0.5).loss == pytest.approx(2.5)


@pytest.mark.parametrize(("floor", "baseline"), [(3.0, 3.0), (3.0, 3.1), (None, 2.0), (3.0, None)])
def test_a_baseline_that_learned_nothing_sets_no_target(floor, baseline):
    assert target(floor, baseline) is None
