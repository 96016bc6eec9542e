"""Nearest names against sorting everything."""

import numpy as np
import pytest
from scipy.sparse import csr_array

from leanformer.linking import search
from leanformer.linking.search import nearest


def unit(count: int, width: int, seed: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal((count, width)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def sorted_all(queries: np.ndarray, names: np.ndarray, k: int) -> np.ndarray:
    scores = np.round(search.STEPS * (queries.astype(np.float64) @ names.T.astype(np.float64)))
    return np.argsort(-scores, axis=1, kind="stable")[:, :k]


@pytest.mark.parametrize("cells", [2**24, 211])
def test_it_is_what_sorting_everything_finds(monkeypatch, cells):
    monkeypatch.setattr(search, "CELLS", cells)
    queries, names = unit(13, 7, 1), unit(101, 7, 2)
    np.testing.assert_array_equal(nearest(queries, names, 5), sorted_all(queries, names, 5))
    np.testing.assert_array_equal(nearest(csr_array(queries), csr_array(names), 5), sorted_all(queries, names, 5))


def test_ties_go_to_the_earlier_name_wherever_they_lie():
    names = unit(5, 11, 3)[np.random.default_rng(4).integers(0, 5, 997)]  # five vectors, again and again
    queries = unit(17, 11, 5)
    np.testing.assert_array_equal(nearest(queries, names, 5), sorted_all(queries, names, 5))
    nothing = np.zeros((2, 11), np.float32)
    np.testing.assert_array_equal(nearest(nothing, names, 3), [[0, 1, 2], [0, 1, 2]])


def test_fewer_names_than_asked_for():
    names = unit(3, 11, 6)
    assert nearest(names, names, 5).shape == (3, 3)
    np.testing.assert_array_equal(nearest(names, names, 5)[:, 0], [0, 1, 2])
