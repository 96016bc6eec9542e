"""The probe tells models that match content from models that look at a fixed distance, and from models that count."""

import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from leanformer.data.vocabulary import Vocabulary
from leanformer.evaluation.evaluate import evaluate
from leanformer.evaluation.probes.induction import BLOCK, CONDITIONS, default_gaps, probe, questions

VOCABULARY = Vocabulary(size=331, special_ids=(0, 1, 2, 3, 4), pad_id=0, cls_id=2, sep_id=3, mask_id=4, unk_id=1)
LENGTH, SIZE, GAPS = 61, 37, [0, 7, 23]


class Copier:
    """Says for sure what stands at `source(tokens, place)`, a place; if None, all tokens are equally likely."""

    device = torch.device("cpu")

    def __init__(self, source, causal=False):
        self.source, self.causal = source, causal

    def __call__(self, input_ids, masked_positions=None):
        rows, places = [], torch.arange(LENGTH).expand(len(input_ids), -1) if self.causal else masked_positions
        for tokens, asked in zip(input_ids.tolist(), places.tolist(), strict=True):
            found = [self.source(tokens, place) for place in asked]
            rows.append([[20.0 * (j is not None and tokens[j] == v) for v in range(331)] for j in found])
        return SimpleNamespace(logits=torch.tensor(rows))


def same_neighbours(tokens, place):
    found = (
        j
        for j in range(1, LENGTH - 1)
        if j != place and (tokens[j - 1], tokens[j + 1]) == (tokens[place - 1], tokens[place + 1])
    )
    return next(found, None)


def after_the_same(tokens, place):
    return next((j + 1 for j in range(place - 1, -1, -1) if tokens[j] == tokens[place]), None)


def so_far_before(tokens, place):
    return place - BLOCK - 7 if place > BLOCK + 7 else None


def by(result, gap, condition):
    return next(row for row in result["results"] if (row["gap"], row["copy"]) == (gap, condition))


def test_matching_content_copies_over_every_gap():
    result = probe(Copier(same_neighbours), "masked_lm", VOCABULARY, LENGTH, SIZE, GAPS)
    for gap, gain in zip(GAPS, result["gains"], strict=True):
        assert by(result, gap, "repeated")["accuracy"] == 1
        assert by(result, gap, "repeated")["loss"] < 1e-5
        assert by(result, gap, "unrelated")["loss"] == pytest.approx(math.log(331))
        assert by(result, gap, "unrelated")["accuracy"] < 0.05
        assert gain["low"] > 4


def test_matching_content_from_the_left_copies_too():
    result = probe(Copier(after_the_same, causal=True), "causal_lm", VOCABULARY, LENGTH, SIZE, GAPS)
    for gap in GAPS:
        row = by(result, gap, "repeated")
        assert row["targets"] == SIZE * (BLOCK - 1)
        # It is misled where a token stands once more between the two, with chance 1 / 326 a place.
        assert row["accuracy"] > (1 - 1 / 326) ** (gap + BLOCK) - 0.05
        assert by(result, gap, "unrelated")["accuracy"] < 0.05


def test_a_fixed_distance_copies_over_one_gap_only():
    result = probe(Copier(so_far_before), "masked_lm", VOCABULARY, LENGTH, SIZE, GAPS)
    assert [by(result, gap, "repeated")["accuracy"] > 0.95 for gap in GAPS] == [False, True, False]
    assert [gain["low"] > 0 for gain in result["gains"]] == [False, True, False]


def test_questions_differ_in_the_first_block_alone():
    for gap in GAPS:
        asked = {name: questions(name, VOCABULARY, LENGTH, SIZE, gap, False) for name in CONDITIONS}
        repeated = asked["repeated"]
        for row in range(SIZE):
            (place,) = repeated.targets_ST[row]
            copy = place - BLOCK - gap
            tokens = repeated.tokens_SL[row]
            assert tokens[copy - 1 : copy + 2].tolist() == tokens[place - 1 : place + 2].tolist()
        for other in (asked["shuffled"], asked["unrelated"]):
            np.testing.assert_array_equal(other.targets_ST, repeated.targets_ST)
            changed = (other.tokens_SL != repeated.tokens_SL).sum(1)
            assert 0 < changed.max() <= BLOCK
            assert (np.take_along_axis(other.tokens_SL, other.targets_ST, 1)
                    == np.take_along_axis(repeated.tokens_SL, repeated.targets_ST, 1)).all()  # fmt: skip
        np.testing.assert_array_equal(np.sort(asked["shuffled"].tokens_SL), np.sort(repeated.tokens_SL))
        assert not VOCABULARY.is_special[repeated.tokens_SL[:, 1:-1]].any()
        assert len(set(repeated.targets_ST.ravel().tolist())) > 5


def test_questions_are_a_function_of_their_arguments():
    more, fewer = (questions("repeated", VOCABULARY, LENGTH, size, 7, True) for size in (SIZE, 5))
    np.testing.assert_array_equal(more.tokens_SL[:5], fewer.tokens_SL)
    np.testing.assert_array_equal(more.targets_ST[:5], fewer.targets_ST)


def test_an_untrained_model_gains_nothing(run: Path):
    result = evaluate(run, "induction", limit=16)
    (gain,) = result["gains"]
    assert gain["low"] < 0.05
    assert gain["high"] > -0.05
    assert result["chance_loss"] == pytest.approx(math.log(24))
    assert evaluate(run, "induction", limit=16) == result


def test_gaps_fit_the_sequence(run: Path):
    assert default_gaps(61) == [0, 4, 8, 16, 32]
    with pytest.raises(ValueError, match="--gaps 2: two blocks of 8 leave room for gaps of 0 to 1 in 19 tokens"):
        evaluate(run, "induction", limit=4, gaps=[2])
    with pytest.raises(ValueError, match="17 tokens are too few for two blocks: the probe needs a model of 18"):
        questions("repeated", VOCABULARY, 17, 2, 0, False)
    with pytest.raises(ValueError, match="--limit 1: must be at least 2"):
        evaluate(run, "induction", limit=1)
    with pytest.raises(ValueError, match="makes its own data: leave --data out"):
        evaluate(run, "induction", "text.txt")
