import itertools

import numpy as np
import pytest

from leanformer.data.masking import TO_MASK, TO_RANDOM, Masked, mask
from leanformer.data.no_context import Floor, no_context_baseline, unigram
from leanformer.data.vocabulary import Vocabulary

VOCABULARY = Vocabulary(9, (0, 1, 2, 3, 4), pad_id=0, unk_id=1, cls_id=2, sep_id=3, mask_id=4)
COUNTS = np.array([50, 3, 50, 50, 0, 70, 20, 8, 2])
ORDINARY = range(5, 9)


def corruptions(target):
    """(what is seen, probability) for a target: 80/10/10 written out."""
    yield 4, 0.8
    yield target, 0.1
    for replacement in ORDINARY:
        yield replacement, 0.1 / len(ORDINARY)


def joint():
    """P(target, seen) by enumeration, (V, V)."""
    table = np.zeros((9, 9))
    for target in ORDINARY:
        for seen, probability in corruptions(target):
            table[target, seen] += (COUNTS[target] + 1) / 104 * probability
    return table


def test_frequencies_are_of_ordinary_tokens_and_smoothed():
    np.testing.assert_allclose(unigram(COUNTS, VOCABULARY), np.array([0, 0, 0, 0, 0, 71, 21, 9, 3]) / 104)


def test_every_loss_is_bayes_rule():
    """Each pair of target and sight on its own, so that no error can cancel."""
    posterior = joint() / joint().sum(axis=0).clip(1e-300)
    for target, seen in itertools.product(ORDINARY, (*ORDINARY, 4)):
        one = Masked(np.array([[seen, 2]]), np.array([[0]]), np.array([[target]]))
        floor = no_context_baseline(COUNTS, one, VOCABULARY)
        np.testing.assert_allclose(floor.context_free, -np.log(posterior[target, seen]), rtol=1e-12)
        np.testing.assert_allclose(floor.unigram, -np.log((COUNTS[target] + 1) / 104), rtol=1e-12)


def expected_baseline(counts, vocabulary, target_counts=None):
    """Returns the expectation of the baseline over masks, for targets distributed as `target_counts` (V,), by default
    as the training text.

    With v the targets' frequencies, 0.8 of them see [MASK], 0.1 (1 + 1/K) see themselves and 0.1/K each other token:

        E = sum_t v(t) (-log u(t))  -  0.1 sum_t v(t) (1 + 1/K) log((1 + 1/K) / (u(t) + 1/K))
                                    -  0.1 sum_o (1 - v(o)) / K log((1/K) / (u(o) + 1/K))
    """
    ordinary = vocabulary.ordinary_ids
    u = unigram(counts, vocabulary)[ordinary]
    v = u if target_counts is None else target_counts[ordinary] / target_counts[ordinary].sum()
    uniform = 1 / len(ordinary)
    unseen = float(-(v @ np.log(u)))
    same = v @ np.log((1 + uniform) / (u + uniform)) * (1 - TO_MASK - TO_RANDOM + TO_RANDOM * uniform)
    other = (1 - v) @ np.log(uniform / (u + uniform)) * TO_RANDOM * uniform
    return Floor(unseen - float(same + other), unseen)


def test_the_expectation_is_the_conditional_entropy():
    table = joint()
    posterior = table / table.sum(axis=0).clip(1e-300)
    entropy = -(table * np.log(posterior, where=posterior > 0, out=np.zeros_like(table))).sum()
    floor = expected_baseline(COUNTS, VOCABULARY)
    np.testing.assert_allclose(floor.context_free, entropy, rtol=1e-12)
    u = unigram(COUNTS, VOCABULARY)[5:]
    np.testing.assert_allclose(floor.unigram, -(u * np.log(u)).sum(), rtol=1e-12)


def test_the_expectation_for_other_targets_is_their_cross_entropy():
    table, others = joint(), np.array([9, 9, 9, 9, 9, 1, 5, 0, 30])
    posterior = table / table.sum(axis=0).clip(1e-300)
    weights = np.zeros(9)
    weights[5:] = others[5:] / 36
    likelihood = table / table.sum(axis=1, keepdims=True).clip(1e-300)
    loss = sum(
        -weights[t] * likelihood[t, s] * np.log(posterior[t, s]) for t, s in itertools.product(ORDINARY, (*ORDINARY, 4))
    )
    np.testing.assert_allclose(expected_baseline(COUNTS, VOCABULARY, others).context_free, loss, rtol=1e-12)


@pytest.fixture
def drawn():
    tokens = np.random.default_rng(0).choice(9, p=unigram(COUNTS, VOCABULARY), size=(8009, 41))
    return mask(tokens, np.arange(len(tokens)), seed=1, epoch=0, count=7, vocabulary=VOCABULARY)


def test_the_masks_that_are_really_drawn_have_this_floor(drawn):
    """Ties the formula to masking.py: a floor for other shares than 80/10/10 would not agree."""
    floor, expected = no_context_baseline(COUNTS, drawn, VOCABULARY), expected_baseline(COUNTS, VOCABULARY)
    assert abs(floor.context_free - expected.context_free) < 0.01
    assert abs(floor.unigram - expected.unigram) < 0.01
    assert floor.context_free < floor.unigram - 0.03


def test_no_table_of_predictions_does_better(drawn):
    """The best predictor fitted on the drawn pairs themselves gains only what overfitting gains."""
    seen = np.take_along_axis(drawn.corrupted, drawn.positions, axis=1).ravel()
    table = np.zeros((9, 9))
    np.add.at(table, (drawn.labels.ravel(), seen), 1)
    fitted = -np.log((table / table.sum(axis=0).clip(1))[drawn.labels.ravel(), seen]).mean()
    floor = no_context_baseline(COUNTS, drawn, VOCABULARY).context_free
    assert fitted < floor < fitted + 0.005


def test_special_targets_do_not_count():
    one = Masked(np.array([[4, 2, 3]]), np.array([[0, 1]]), np.array([[5, -100]]))
    assert no_context_baseline(COUNTS, one, VOCABULARY).context_free == pytest.approx(-np.log(71 / 104))
    with pytest.raises(ValueError, match="no ordinary token"):
        no_context_baseline(COUNTS, one._replace(labels=np.array([[-100, -100]])), VOCABULARY)


def test_a_token_that_training_lacks_costs_much_but_not_everything():
    counts = COUNTS * (np.arange(9) != 8)
    one = Masked(np.array([[4]]), np.array([[0]]), np.array([[8]]))
    assert 4 < no_context_baseline(counts, one, VOCABULARY).context_free < 6
