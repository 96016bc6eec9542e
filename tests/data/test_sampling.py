from collections import Counter

import numpy as np
import pytest

from leanformer.data.sampling import FOR_TOKENIZER, HoldOut, numbered_bits, sample

DOCUMENTS = [f"{i:05}" * (1 + i % 7) for i in range(9973)]


def test_a_small_text_is_taken_whole():
    assert sample(DOCUMENTS, 10**9) == DOCUMENTS
    assert sample([], 100) == []


def test_a_sample_fills_its_size_and_keeps_the_order():
    chosen = sample(iter(DOCUMENTS), 20_000)
    assert 20_000 - 35 <= sum(map(len, chosen)) <= 20_000
    assert chosen == sorted(chosen)


def test_a_sample_is_a_threshold_on_the_bits():
    """So no document's chance depends on its size, its place or its neighbours."""
    documents = DOCUMENTS[:307]
    bits = dict(zip(documents, numbered_bits(FOR_TOKENIZER), strict=False))
    for size in range(200, 800, 7):
        chosen = set(sample(documents, size))
        assert max(bits[document] for document in chosen) < min(bits[document] for document in bits.keys() - chosen)


def test_a_sample_comes_from_everywhere():
    places = np.array([int(document[:5]) for document in sample(DOCUMENTS, 40_000)])
    counts, _ = np.histogram(places, bins=10, range=(0, 9973))
    assert counts.min() > 0.6 * len(places) / 10


def test_a_larger_sample_holds_the_smaller_one():
    small, large = (set(sample(DOCUMENTS, size)) for size in (10_000, 50_000))
    assert len(small - large) <= 1


def test_one_long_document_is_still_a_sample():
    assert sample(["x" * 100], 10) == ["x" * 100]


@pytest.mark.parametrize("fraction", [0.01, 0.1])
def test_about_the_fraction_is_held_out_for_each_part(fraction):
    hold_out = HoldOut({"valid": fraction, "test": 2 * fraction})
    held = Counter()
    for document in DOCUMENTS:
        held[hold_out(len(document))] += len(document)
    for part, expected in (("valid", fraction), ("test", 2 * fraction), ("train", 1 - 3 * fraction)):
        assert abs(held[part] / held.total() - expected) < 0.25 * expected


def test_a_second_part_takes_nothing_from_the_first():
    alone, both = HoldOut({"valid": 0.05}), HoldOut({"valid": 0.05, "test": 0.1})
    answers = [(alone(1), both(1)) for _ in range(5000)]
    assert all((one == "valid") == (two == "valid") for one, two in answers)


@pytest.mark.parametrize("number", [1, 3, 11, 101, 1009])
def test_never_more_than_twice_the_fraction(number):
    sizes = np.random.default_rng(number).pareto(1.0, number) * 1000 + 1
    hold_out = HoldOut({"valid": 0.05, "test": 0.2})
    held = Counter()
    for size in sizes:
        held[hold_out(size)] += size
        assert held["valid"] <= 0.1 * held.total() + 1e-9
        assert held["test"] <= 0.4 * held.total() + 1e-9


def test_nothing_can_be_held_out():
    hold_out = HoldOut({})
    assert {hold_out(1) for _ in range(5000)} == {"train"}
