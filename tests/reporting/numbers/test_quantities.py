import pytest

from leanformer.reporting.numbers.quantities import (
    decimals,
    fixed,
    flops,
    listed,
    memory,
    p_value,
    scaled,
    seconds,
    signed,
    unit,
)
from leanformer.reporting.render.style import spaced


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (8_020_000, "8.02 M"),
        (512, "512"),
        (26.2e9, "26.2 B"),
        (999_999, "1.00 M"),
        (9_999_000, "10.0 M"),
        (-93_100, "−93.1 k"),
        (0, "0"),
    ],
)
def test_large_numbers_have_three_digits_and_a_letter(value, shown):
    assert scaled(value) == shown


def test_signs_are_written_where_there_is_one():
    assert [signed(v, 3) for v in (0.0312, -0.0312, 0.0001, -0.0001)] == ["+0.031", "−0.031", "0.000", "0.000"]
    assert fixed(-1234.5, 1) == "−1,234.5"


@pytest.mark.parametrize(
    ("p", "shown"),
    [(0.0104, "= 0.010"), (0.0002, "< 0.001"), (0.42, "= 0.42"), (1.0, "= 1.00"), (0.0499, "= 0.0499")],
)
def test_p_values_are_short(p, shown):
    assert p_value(p) == shown


@pytest.mark.parametrize("p", [0.0495, 0.0496, 0.04999, 0.049999, 0.05, 0.0501, 0.0504])
def test_a_p_value_is_never_rounded_across_the_line(p):
    shown = p_value(p)
    number = float(shown.lstrip("=< "))
    assert (number < 0.05 or shown.startswith("<")) is (p < 0.05)


def test_digits_follow_the_uncertainty():
    assert [decimals(u) for u in (None, 0.0, 0.3, 0.012, 0.0012)] == [3, 3, 3, 3, 4]
    assert unit(496_000) == (1e3, "k", 0)
    assert flops(1.2e9) == "1.20 G"
    assert [memory(v) for v in (512, 19_200_000, 1.37e9)] == ["512 B", "19.2 MB", "1.37 GB"]


def test_words():
    assert [seconds(v) for v in (50, 600, 9000)] == ["50 s", "10.0 min", "2.5 h"]
    assert [listed(list(w)) for w in ("", "a", "ab", "abc")] == ["", "a", "a and b", "a, b and c"]


def test_labels_keep_their_distance_and_their_order():
    wanted = [0.50, 0.51, 0.10, 0.52]
    placed = spaced(wanted, 0.1, 0.0, 1.0)
    ranks = sorted(range(4), key=lambda i: wanted[i])
    gaps = [placed[b] - placed[a] for a, b in zip(ranks, ranks[1:], strict=False)]
    assert min(gaps) >= 0.1 - 1e-9
    assert placed[2] == pytest.approx(0.10)
    assert sum(placed[i] for i in (0, 1, 3)) / 3 == pytest.approx(0.51)


def test_labels_stay_within_bounds_where_there_is_room():
    assert spaced([0.99, 1.0, 1.0], 0.1, 0.0, 1.0) == pytest.approx([0.8, 0.9, 1.0])
    assert spaced([], 0.1, 0.0, 1.0) == []
