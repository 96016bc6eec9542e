import math

import numpy as np
import pytest

from leanformer.reporting.numbers.target import Descent, target

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
    assert Descent(CURVE).first_crossing(loss) == pytest.approx(tokens)


def test_a_run_that_never_arrives_is_censored():
    assert Descent(CURVE).first_crossing(0.9) is None
    assert Descent([]).first_crossing(0.9) is None
    assert Descent([(100, math.nan), (200, math.nan)]).first_crossing(5.0) is None


def test_there_is_no_interpolating_from_a_loss_that_is_no_number():
    assert Descent([(0, math.inf), (100, 1.0)]).first_crossing(2.0) == 100


def test_the_target_is_a_fraction_of_what_the_baseline_learned():
    assert target(3.0, 2.0, 0.95).loss == pytest.approx(2.05)
    assert target(3.0, 2.0, 0.5).loss == pytest.approx(2.5)


@pytest.mark.parametrize(("floor", "baseline"), [(3.0, 3.0), (3.0, 3.1), (None, 2.0), (3.0, None)])
def test_a_baseline_that_learned_nothing_sets_no_target(floor, baseline):
    assert target(floor, baseline) is None


def test_a_descent_finds_what_a_scan_of_the_curve_finds():
    """Curves that rise again, start with infinity and hold NaN; losses at, between and beyond their points."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        losses = np.round(3 - np.linspace(0, 2, 17) + rng.normal(0, 0.5, 17), 2)
        losses[rng.integers(17)] = rng.choice([np.nan, np.inf, 2.0])
        curve = [(float(i), float(loss)) for i, loss in enumerate(losses)]
        descent = Descent(curve)
        for loss in [*losses, 0.0, 1.234, 2.345, 9.0]:
            place = next((i for i, value in enumerate(losses) if value <= loss), None)
            found = descent.first_crossing(float(loss))
            if place is None or np.isnan(loss):
                assert found is None
            elif place == 0 or not math.isfinite(losses[place - 1]):
                assert found == place
            else:
                between = np.interp(-loss, [-losses[place - 1], -losses[place]], [place - 1, place])
                assert found == pytest.approx(between, rel=1e-12)
