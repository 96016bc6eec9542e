"""A mechanism has one colour and marker, whatever stands beside it."""

from leanformer.reporting.figures.frame import numbered
from leanformer.reporting.records.study import read_study
from leanformer.reporting.render.style import series


def test_a_mechanism_keeps_its_number(fabricate):
    few = numbered(read_study(fabricate(effects={"dot_product": 0.0, "shared": 0.1})))
    assert few == {"dot_product": 0, "shared": 3}


def test_other_arms_take_what_is_free(fabricate):
    arms = [
        "dot_product",
        "dot_product[key_init=query]",
        "pairwise",
        "dense+dot_product",
        "symmetric",
        "phased[phase_std=3]",
    ]
    numbers = numbered(read_study(fabricate(effects=dict.fromkeys(arms, 0.0))))
    assert [numbers[arm] for arm in arms] == [0, 3, 2, 4, 1, 5]


def test_more_arms_than_colours_are_told_apart(fabricate):
    arms = ["dot_product", *(f"dot_product[key_init={i}]" for i in range(9)), "symmetric"]
    numbers = numbered(read_study(fabricate(effects=dict.fromkeys(arms, 0.0))))
    assert numbers["symmetric"] == 1 and sorted(numbers.values()) == list(range(11))
    assert len({tuple(series(number).values()) for number in numbers.values()}) == 11
