"""Entities of tags: the three schemes by hand, and random tags as seqeval reads them."""

import random

import pytest

from leanformer.data.tags import Entity, entities, iob2, normalised

LOC, PER = "LOC", "PER"


@pytest.mark.parametrize(
    "tags",
    [
        "O I-LOC I-LOC B-LOC O I-PER",
        "O B-LOC I-LOC B-LOC O B-PER",
        "O B-LOC E-LOC S-LOC O S-PER",
        "O B-LOC L-LOC U-LOC O U-PER",
    ],
    ids=["IOB1", "IOB2", "BIOES", "BILOU"],
)
def test_schemes_mark_the_same_entities(tags):
    assert entities(tags.split()) == [Entity(1, 3, LOC), Entity(3, 4, LOC), Entity(5, 6, PER)]
    assert normalised([tags.split()]) == [["O", "B-LOC", "I-LOC", "B-LOC", "O", "B-PER"]]


def test_another_type_begins_another_entity():
    assert entities(["I-LOC", "I-PER", "B-PER"]) == [Entity(0, 1, LOC), Entity(1, 2, PER), Entity(2, 3, PER)]
    assert entities(["O", "O"]) == entities([]) == []
    assert entities(["B-x-y", "I-x-y"]) == [Entity(0, 2, "x-y")]


def test_iob2_and_back():
    marked = [Entity(0, 2, LOC), Entity(2, 3, LOC), Entity(4, 7, PER)]
    tags = iob2(7, marked)
    assert tags == ["B-LOC", "I-LOC", "B-LOC", "O", "B-PER", "I-PER", "I-PER"]
    assert entities(tags) == marked


def test_tags_without_prefixes():
    assert normalised([["PER", "PER", "O"], ["O", "LOC"]]) == [["B-PER", "I-PER", "O"], ["O", "B-LOC"]]
    assert normalised([["NOUN", "VERB"], ["DET"]]) is None
    with pytest.raises(ValueError, match="tag 'PER' has no prefix, but others have: write all"):
        normalised([["PER", "O"], ["B-LOC"]])


def test_random_tags_are_read_as_seqeval_reads_them():
    seqeval = pytest.importorskip("seqeval.metrics.sequence_labeling")
    draw = random.Random(5)
    tags = ["O", *(f"{prefix}-{label}" for prefix in "BIES" for label in (LOC, PER))]
    for _ in range(500):
        sequence = draw.choices(tags, k=11)
        expected = [Entity(first, last + 1, label) for label, first, last in seqeval.get_entities(sequence)]
        assert entities(sequence) == expected
