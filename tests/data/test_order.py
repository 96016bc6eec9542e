from collections import Counter

import numpy as np
import pytest

from leanformer.data.order import permutation


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 7, 97, 101, 1024, 7919, 100_003])
@pytest.mark.parametrize("epoch", [0, 1, 17])
def test_an_epoch_visits_every_example_once(n, epoch):
    np.testing.assert_array_equal(np.sort(permutation(np.arange(n), n, 3, epoch)), np.arange(n))


def test_seeds_and_epochs_differ():
    orders = [permutation(np.arange(101), 101, seed, epoch) for seed in range(5) for epoch in range(5)]
    assert len({order.tobytes() for order in orders}) == 25
    assert all((order != np.arange(101)).mean() > 0.9 for order in orders)


def test_an_order_is_the_same_forever():
    """A change of these numbers is a change of everybody's runs."""
    assert permutation(np.arange(7), 7, 1, 0).tolist() == [3, 5, 2, 4, 1, 6, 0]


def test_a_place_is_found_without_the_others():
    whole = permutation(np.arange(7919), 7919, 1, 2)
    places = np.array([[7918, 0], [31, 31]])
    np.testing.assert_array_equal(permutation(places, 7919, 1, 2), whole[places])
    assert permutation(5, 7919, 1, 2) == whole[5]


def test_orders_of_a_few_examples_are_all_met_about_equally_often():
    met = Counter(tuple(permutation(np.arange(4), 4, seed, 0).tolist()) for seed in range(4800))
    assert len(met) == 24
    assert all(140 < times < 270 for times in met.values())  # 200 expected, standard deviation 14


def test_neighbours_part():
    """No structure of the file survives: the images of neighbours are as far apart as those of strangers."""
    n = 100_003
    order = permutation(np.arange(n), n, 0, 0)
    assert abs(np.corrcoef(order[:-1], order[1:])[0, 1]) < 0.02
    assert abs(np.corrcoef(order, np.arange(n))[0, 1]) < 0.02


@pytest.mark.parametrize("place", [-1, 7])
def test_a_place_outside_is_refused(place):
    with pytest.raises(IndexError, match="not all in range"):
        permutation(place, 7, 1, 0)


def test_nothing_cannot_be_ordered():
    with pytest.raises(ValueError, match="at least one"):
        permutation(np.arange(0), 0, 1, 0)
