"""One file divided into two: by texts, by strata, the same every time."""

import numpy as np
import pytest

from leanformer.data.own.split import held_out, held_out_size


def texts(count):
    return [(f"text {i}",) for i in range(count)]


@pytest.mark.parametrize(("rows", "size"), [(8, 2), (100, 25), (200, 50), (499, 50), (1000, 100)])
def test_size(rows, size):
    assert held_out_size(rows) == size


def test_copies_stay_on_one_side_and_the_order_plays_no_part():
    rows = [*texts(300), *texts(300)]
    chosen = held_out(rows, [0] * 600, seed=3)
    np.testing.assert_array_equal(chosen[:300], chosen[300:])
    order = np.random.default_rng(1).permutation(600)
    np.testing.assert_array_equal(held_out([rows[i] for i in order], [0] * 600, seed=3), chosen[order])
    assert chosen.sum() == 60
    assert (held_out(rows, [0] * 600, seed=4) != chosen).any()


def test_strata_have_their_shares():
    labels = ["rare"] * 20 + ["common"] * 380 + ["single"]
    chosen = held_out(texts(401), labels, seed=0)
    assert chosen[:20].sum() == pytest.approx(20 * 50 / 401, abs=1)
    assert chosen[20:400].sum() == pytest.approx(380 * 50 / 401, abs=1)
    assert not chosen[400]  # a class of one text is for training


def test_the_seed_and_the_text_alone_decide_among_equals():
    """The rows with the smallest sha256 of seed and text are held out."""
    import hashlib

    rows = texts(40)
    keys = [hashlib.sha256(f"7\n{text}".encode()).hexdigest() for (text,) in rows]
    expected = np.isin(np.arange(40), np.argsort(keys)[:10])
    np.testing.assert_array_equal(held_out(rows, [0] * 40, seed=7), expected)


def test_many_rare_classes_do_not_take_from_the_next_one():
    labels = [f"alone {i}" for i in range(50)] + ["of ten"] * 10
    chosen = held_out(texts(60), labels, seed=0)
    assert chosen[:50].sum() == 0 and chosen[50:].sum() == 2  # a quarter of ten
