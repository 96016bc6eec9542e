"""Wrong labels and few examples: how many, which, and that more of them contain fewer."""

import numpy as np
import pytest

from leanformer.data.examples import Examples
from leanformer.robustness.training_data import flipped, imbalanced, mislabelled

LABELS = np.arange(3000) % 3


def test_the_first_labels_are_flipped_in_this_way_forever():
    assert flipped(LABELS[:12], 3, 0.5, 1).tolist() == [0, 0, 0, 0, 2, 1, 0, 1, 1, 1, 0, 2]


@pytest.mark.parametrize("share", [0.1, 0.4])
def test_the_share_is_wrong_and_every_wrong_class_as_likely(share):
    noisy = flipped(LABELS, 3, share, 2)
    wrong = noisy != LABELS
    assert abs(wrong.mean() - share) < 4 * np.sqrt(share * (1 - share) / 3000)
    by_one = ((noisy - LABELS) % 3 == 1)[wrong].mean()
    assert abs(by_one - 0.5) < 4 * 0.5 / np.sqrt(wrong.sum())


def test_more_noise_contains_less():
    little, much = flipped(LABELS, 3, 0.2, 1), flipped(LABELS, 3, 0.4, 1)
    np.testing.assert_array_equal(much[little != LABELS], little[little != LABELS])
    np.testing.assert_array_equal(flipped(LABELS, 3, 0, 1), LABELS)
    assert (flipped(LABELS, 2, 1, 1) != LABELS)[LABELS < 2].all()
    assert (flipped(LABELS, 3, 0.2, 2) != little).any()


def test_few_examples_are_nested_and_depend_on_the_seed():
    examples = Examples([(str(i),) for i in range(101)], np.arange(101))
    few, more = (set(examples.subset(size, seed=5).labels) for size in (10, 30))
    assert len(few) == 10 and few < more
    assert set(examples.subset(10, seed=6).labels) != few


def test_a_share_beyond_1_is_refused():
    with pytest.raises(ValueError, match="label noise 2 is not a share"):
        mislabelled(Examples([("a",)], np.zeros(1, int)), 2, 2, 1)


def test_classes_grow_rare_in_their_order_and_more_imbalance_keeps_fewer():
    examples = Examples([(str(i),) for i in range(3000)], LABELS)
    kept = {ratio: imbalanced(examples, 3, ratio, 5) for ratio in (1, 10, 100, 1e6)}
    assert np.bincount(kept[1].labels).tolist() == [1000, 1000, 1000]
    assert np.bincount(kept[10].labels).tolist() == [1000, 316, 100]
    assert np.bincount(kept[1e6].labels).tolist() == [1000, 1, 1]
    assert set(kept[100].texts) < set(kept[10].texts)
    assert [int(text) % 3 for (text,) in kept[10].texts] == kept[10].labels.tolist()
    assert imbalanced(examples, 3, 10, 6).texts != kept[10].texts
    with pytest.raises(ValueError, match=r"an imbalance of 0\.5"):
        imbalanced(examples, 3, 0.5, 5)
