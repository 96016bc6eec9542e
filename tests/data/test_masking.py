import numpy as np
import pytest

from leanformer.data.masking import IGNORED, count, mask
from leanformer.data.vocabulary import Vocabulary

V, L, B = 59, 31, 499
VOCABULARY = Vocabulary(V, (0, 1, 2, 3, 4), pad_id=0, unk_id=1, cls_id=2, sep_id=3, mask_id=4)
TOKENS = np.random.default_rng(0).integers(5, V, (B, L))
IDS = np.arange(B)


def masked(tokens=TOKENS, ids=IDS, seed=1, epoch=0, count=7):
    return mask(tokens, ids, seed=seed, epoch=epoch, count=count, vocabulary=VOCABULARY)


def at(array, positions):
    return np.take_along_axis(array, positions, axis=1)


def test_every_sequence_gets_its_count():
    corrupted, positions, labels = masked()
    assert corrupted.shape == (B, L) and positions.shape == labels.shape == (B, 7)
    assert {array.dtype for array in (corrupted, positions, labels)} == {np.dtype(np.int64)}
    assert (np.diff(positions) > 0).all() and positions.min() >= 0 and positions.max() < L


def test_labels_are_the_original_tokens_and_the_rest_is_untouched():
    corrupted, positions, labels = masked()
    np.testing.assert_array_equal(labels, at(TOKENS, positions))
    elsewhere = np.ones((B, L), bool)
    np.put_along_axis(elsewhere, positions, False, axis=1)
    np.testing.assert_array_equal(corrupted[elsewhere], TOKENS[elsewhere])


def test_the_given_tokens_are_not_changed():
    before = TOKENS.copy()
    masked()
    np.testing.assert_array_equal(TOKENS, before)


def test_the_shares_are_80_10_10():
    """Binomial bounds at five standard deviations; a random token is the original one once in V - 5."""
    parts = [masked(epoch=epoch) for epoch in range(20)]
    seen = np.concatenate([at(m.corrupted, m.positions) for m in parts])
    labels = np.concatenate([m.labels for m in parts])
    n, same = seen.size, 0.1 + 0.1 / (V - 5)
    assert abs((seen == VOCABULARY.mask_id).mean() - 0.8) < 5 * (0.16 / n) ** 0.5
    assert abs((seen == labels).mean() - same) < 5 * (same / n) ** 0.5


def test_replacements_are_uniform_over_the_ordinary_tokens():
    tokens = np.full((B, L), 5)
    seen = np.concatenate([at(m.corrupted, m.positions).ravel() for m in (masked(tokens, epoch=e) for e in range(99))])
    counts = np.bincount(seen, minlength=V)
    assert not counts[[0, 1, 2, 3]].any()
    others = counts[6:]
    expected = seen.size * 0.1 / (V - 5)
    chi_squared = ((others - expected) ** 2 / expected).sum()
    assert chi_squared < 106  # 53 degrees of freedom, mean 53, standard deviation 10


def test_positions_are_uniform():
    counts = np.bincount(np.concatenate([masked(epoch=e).positions.ravel() for e in range(50)]), minlength=L)
    expected = counts.sum() / L
    assert ((counts - expected) ** 2 / expected).sum() < 70  # 30 degrees of freedom, standard deviation 8


def test_masks_depend_on_seed_epoch_and_id_alone():
    whole = masked()
    order = np.random.default_rng(1).permutation(B)
    for one, other in zip(masked(TOKENS[order], order), whole, strict=True):
        np.testing.assert_array_equal(one, other[order])
    for one, other in zip(masked(TOKENS[7:8], IDS[7:8]), whole, strict=True):
        np.testing.assert_array_equal(one, other[7:8])


@pytest.mark.parametrize("other", [{"seed": 2}, {"epoch": 1}, {"ids": IDS + 1}])
def test_another_seed_epoch_or_id_gives_other_masks(other):
    one, two = masked(), masked(**other)
    assert (one.positions != two.positions).any(axis=1).mean() > 0.99


def test_seed_and_epoch_are_not_interchangeable():
    assert (masked(seed=1, epoch=2).positions != masked(seed=2, epoch=1).positions).any()


def test_a_mask_is_the_same_forever():
    """A change of these numbers is a change of everybody's runs."""
    corrupted, positions, _ = mask(
        np.arange(5, 16)[None], np.array([3]), seed=1, epoch=2, count=5, vocabulary=VOCABULARY
    )
    assert (positions.tolist(), corrupted.tolist()) == ([[0, 3, 5, 7, 8]], [[4, 6, 7, 4, 9, 4, 11, 4, 4, 14, 15]])


def test_special_tokens_come_last_and_stay():
    tokens = np.tile(np.array([2, 10, 11, 3, 2, 12, 1, 0, 0, 0, 0]), (B, 1))
    few = masked(tokens, count=3)
    assert (np.sort(few.labels, axis=1) == [10, 11, 12]).all()
    corrupted, positions, labels = masked(tokens, count=7)
    assert ((labels == IGNORED).sum(axis=1) == 4).all()
    special = labels == IGNORED
    np.testing.assert_array_equal(at(corrupted, positions)[special], at(tokens, positions)[special])
    np.testing.assert_array_equal(labels[~special], at(tokens, positions)[~special])
    assert len(np.unique(positions[special])) == 8


def test_everything_can_be_masked():
    assert (masked(count=L).positions == np.arange(L)).all()


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32, np.int32])
def test_stored_tokens_need_no_conversion(dtype):
    np.testing.assert_array_equal(masked(TOKENS.astype(dtype)).corrupted, masked().corrupted)


@pytest.mark.parametrize("number", [0, L + 1])
def test_an_impossible_count_is_refused(number):
    with pytest.raises(ValueError, match=f"cannot mask {number} of {L}"):
        masked(count=number)


def test_count_is_the_rate_rounded():
    assert [count(0.15, 128), count(0.15, 64), count(0.15, 3), count(1.0, 5), count(0.4, 512)] == [19, 10, 1, 5, 205]


@pytest.mark.parametrize("rate", [0, -0.1, 1.1, float("nan")])
def test_an_impossible_rate_is_refused(rate):
    with pytest.raises(ValueError, match="not in"):
        count(rate, 128)
