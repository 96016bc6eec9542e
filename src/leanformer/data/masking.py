"""Dynamic masking as a function: the masks of an example depend only on (seed, epoch, example id).

Every position gets 64 random bits; the `count` positions with the smallest bits are the targets. Special tokens sort
behind all others, so they are chosen only in a sequence with too few ordinary tokens, and then they are not changed and
their label is -100. A target is replaced by (Devlin et al., 2019, section 3.1)

    [MASK] with probability 0.8,    a uniformly random ordinary token 0.1,    itself 0.1

With a fixed count every sequence has the same number of logits, hence the head is dense and all steps cost the same.

B batch, L sequence length, N masked positions per sequence, V vocabulary.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from leanformer.data.randomness import below, random_bits
from leanformer.data.vocabulary import Vocabulary

IGNORED = -100
TO_MASK, TO_RANDOM = 0.8, 0.1


class Masked(NamedTuple):
    """A masked batch, all int64."""

    corrupted: NDArray[np.int64]
    """(B, L) the corrupted sequences, which the model reads."""
    positions: NDArray[np.int64]
    """(B, N) the masked positions, ascending."""
    labels: NDArray[np.int64]
    """(B, N) the original tokens at these positions, or -100 at special tokens."""


def count(rate: float, length: int) -> int:
    """The number of masked positions per sequence: the rate times the length, rounded, at least one."""
    if not 0 < rate <= 1:
        raise ValueError(f"mask rate {rate!r} is not in (0, 1]")
    return max(1, round(rate * length))


def mask(
    tokens: NDArray[np.integer], ids: NDArray[np.integer], *, seed: int, epoch: int, count: int, vocabulary: Vocabulary
) -> Masked:
    """Mask `count` positions of each of the sequences tokens (B, L), whose example ids are ids (B,)."""
    length = tokens.shape[1]
    if not 1 <= count <= length:
        raise ValueError(f"cannot mask {count} of {length} positions: choose 1 to {length}")

    bits_BL = random_bits(seed, epoch, np.asarray(ids)[:, None], np.arange(length))
    positions_BN = _smallest(bits_BL, vocabulary.is_special[tokens], count)

    original_BN = np.take_along_axis(tokens, positions_BN, axis=1).astype(np.int64)
    special_BN = vocabulary.is_special[original_BN]
    replacement_BN = _corrupt(original_BN, np.take_along_axis(bits_BL, positions_BN, axis=1), vocabulary)

    corrupted_BL = tokens.astype(np.int64)
    np.put_along_axis(corrupted_BL, positions_BN, np.where(special_BN, original_BN, replacement_BN), axis=1)
    return Masked(corrupted_BL, positions_BN, np.where(special_BN, IGNORED, original_BN))


def _smallest(bits_BL: NDArray, special_BL: NDArray[np.bool_], count: int) -> NDArray[np.int64]:
    """Returns (B, N), the positions of the smallest bits, ascending; special tokens come last.

    The position replaces the lowest bits, so all keys of a row differ, the result does not depend on the sorting
    algorithm, and the positions can be read from the sorted keys.
    """
    length = bits_BL.shape[1]
    width = np.uint64(length.bit_length())
    low = (np.uint64(1) << width) - np.uint64(1)
    top = special_BL.astype(np.uint64) << np.uint64(63)
    keys_BL = top | ((bits_BL >> np.uint64(1)) & ~low) | np.arange(length, dtype=np.uint64)
    smallest_BN = np.partition(keys_BL, count - 1, axis=1)[:, :count]
    return np.sort(smallest_BN & low, axis=1).astype(np.int64)


def _corrupt(original_BN: NDArray[np.int64], bits_BN: NDArray, vocabulary: Vocabulary) -> NDArray[np.int64]:
    """Returns the replaced tokens, 80/10/10; the high half of the bits chooses the case, the low half the token."""
    draw_BN = random_bits(bits_BN)
    chance_BN = (draw_BN >> np.uint64(32)) / 2.0**32
    random_BN = vocabulary.ordinary_ids[below(draw_BN, len(vocabulary.ordinary_ids))]
    kept_BN = np.where(chance_BN < TO_MASK + TO_RANDOM, random_BN, original_BN)
    return np.where(chance_BN < TO_MASK, vocabulary.mask_id, kept_BN)
