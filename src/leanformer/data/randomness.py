"""Random numbers as a function of integers, without a generator, hence without state to save or share.

    h_0 = 0,   h_{i+1} = mix((h_i xor word_i) + golden)

`mix` is the finaliser of splitmix64 (Steele, Lea & Flood, 2014), a bijection of 64-bit words that passes BigCrush on
a counter. Words broadcast like numpy operands. Each word is mixed before the next one is added, so a scalar prefix
(seed, epoch) costs nothing and (1, 2) differs from (2, 1).
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Bits = NDArray[np.uint64]

GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def random_bits(*words: ArrayLike) -> Bits:
    """Returns 64 uniform bits for every tuple of integers; the shape is the broadcast shape of the words."""
    with np.errstate(over="ignore"):
        state: Bits = np.zeros((), np.uint64)
        for word in words:
            state = mix((state ^ _unsigned(word)) + GOLDEN)
    return state


def mix(bits: Bits) -> Bits:
    """Returns splitmix64's finaliser of the bits; arithmetic is modulo 2^64."""
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))


def below(bits: Bits, bound: int) -> NDArray[np.int64]:
    """Returns integers in range(bound), uniform to within bound / 2^32, from the low half of the bits. bound < 2^31."""
    low = bits & np.uint64(0xFFFFFFFF)
    return ((low * np.uint64(bound)) >> np.uint64(32)).astype(np.int64)


def uniform(bits: Bits) -> NDArray[np.floating]:
    """Returns numbers in [0, 1), all multiples of 2^-53 equally likely, from the high bits."""
    return (bits >> np.uint64(11)) * 2.0**-53


def _unsigned(word: ArrayLike) -> Bits:
    """Returns any 64-bit integer as unsigned, negative ones by two's complement (a seed may be -1)."""
    if isinstance(word, int):
        return np.array(word & 0xFFFFFFFFFFFFFFFF, np.uint64)
    return np.asarray(word).astype(np.uint64)
