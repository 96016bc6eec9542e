"""The order of the data as a function: place i of epoch e holds example permutation(i, n, seed, e), in O(1).

A Feistel network over pairs of digits. With a = ceil(sqrt(n)) and b = ceil(n / a), write x = l b + r and repeat

    l <- (l + F(round, r)) mod a        r <- (r + F(round, l)) mod b

Each half-round can be inverted by subtraction, whatever F is, so the network is a bijection of range(a b). Images in
[n, a b) are mapped again until they are below n (cycle walking, Black & Rogaway, 2002), which gives a bijection of
range(n); a b - n < a, so this is rare. No list is shuffled, so a run resumes at any step without reading earlier data.
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from leanformer.data.randomness import random_bits

ROUNDS = 6


def permutation(index: ArrayLike, n: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """Returns the examples at the places `index` (integers in range(n), any shape) of this seed's epoch, int64."""
    places = np.asarray(index, dtype=np.int64)
    if n < 1:
        raise ValueError(f"cannot order {n} examples: at least one is needed")
    if places.size and not 0 <= places.min() <= places.max() < n:
        raise IndexError(f"places {places.min()}..{places.max()} are not all in range({n})")
    images = _feistel(places.ravel(), n, seed, epoch)
    while (outside := np.flatnonzero(images >= n)).size:
        images[outside] = _feistel(images[outside], n, seed, epoch)
    return images.reshape(places.shape)


def _feistel(x: NDArray[np.int64], n: int, seed: int, epoch: int) -> NDArray[np.int64]:
    a = math.isqrt(n - 1) + 1
    b = -(-n // a)
    left, right = np.divmod(x, b)
    for half_round in range(2 * ROUNDS):
        if half_round % 2 == 0:
            left = (left + _round(seed, epoch, half_round, right, a)) % a
        else:
            right = (right + _round(seed, epoch, half_round, left, b)) % b
    return left * b + right


def _round(seed: int, epoch: int, half_round: int, digit: NDArray[np.int64], modulus: int) -> NDArray[np.int64]:
    return (random_bits(seed, epoch, half_round, digit) % np.uint64(modulus)).astype(np.int64)
