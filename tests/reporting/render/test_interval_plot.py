"""The column of intervals: equal numbers lie at equal places in all rows."""

import re

import pytest

from leanformer.reporting.render import interval_plot
from leanformer.reporting.render.document import Interval, IntervalPlot


def places(svg, shape, *names):
    return [float(re.search(rf'<{shape} [^>]*?{name}="([^"]*)"', svg)[1]) for name in names]


def plot(*intervals, margin=0.5):
    return IntervalPlot([Interval(mean, ends, "undecided", "said") for mean, ends in intervals], margin)


def test_zero_lies_in_the_middle_of_a_symmetric_axis_and_a_mean_at_its_fraction():
    """The axis is -1 to 1, so 0.5 lies at three quarters of it, which is where the margin ends."""
    rows = interval_plot.rows(plot((0.5, (0.0, 1.0)), (-1.0, None)))
    width = interval_plot.WIDTH - 2 * interval_plot.EDGE
    (zero,), (mean,) = places(rows[0], 'line class="zero"', "x1"), places(rows[0], "circle", "cx")
    assert zero == pytest.approx(interval_plot.EDGE + width / 2, abs=0.1)
    assert mean == pytest.approx(interval_plot.EDGE + 0.75 * width, abs=0.1)
    assert places(rows[0], 'line class="reach"', "x1", "x2") == pytest.approx([zero, zero + width / 2], abs=0.1)
    left, band = places(rows[0], "rect", "x", "width")
    assert (left, left + band) == pytest.approx((zero - width / 4, mean), abs=0.1)
    assert "reach" not in rows[1] and places(rows[1], "circle", "cx") == [interval_plot.EDGE]


def test_an_interval_that_would_flatten_the_others_is_cut_off_with_an_arrow():
    narrow, wide = interval_plot.rows(plot((0.4, (0.3, 0.5)), (0.1, (-90.0, 90.0))))
    assert "<path" not in narrow and wide.count("<path") == 2
    ends = places(narrow, 'line class="reach"', "x1", "x2")
    assert ends[1] - ends[0] > 10


def test_the_axis_has_no_label_where_it_has_no_room():
    assert ">better<" not in interval_plot.axis(plot((5.0, (4.0, 6.0)), margin=0.1))
    assert ">worse<" not in interval_plot.axis(plot((-5.0, (-6.0, -4.0)), margin=0.1))
    both = interval_plot.axis(plot((0.2, None)))
    assert ">better<" in both and ">worse<" in both
