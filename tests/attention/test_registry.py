"""Names, options and plug-ins: everything unknown is refused with the nearest known name."""

import math
import subprocess
import sys

import pytest
from torch import nn

from leanformer.attention import (
    PROJECTIONS,
    Compatibility,
    Mechanism,
    MultiHeadAttention,
    ParameterGroup,
    Projection,
    load_plugin,
    mechanism,
    names,
    register,
)
from leanformer.attention.mechanisms.dot_product import DotProduct
from leanformer.attention.projections import Separate
from leanformer.attention.shape import Shape
from leanformer.attention.testing import check_mechanism

pytestmark = pytest.mark.usefixtures("own_registry")
PLUGIN = '''
"""Attention with a temperature of its own for every head."""
import torch
from leanformer.attention import Compatibility, Logits, Mechanism, PROJECTIONS, register


class Tempered(Compatibility):
    """logit_h(i, j) = a_h q_i . k_j"""

    def __init__(self, shape, start: float = 1.0):
        super().__init__(shape)
        self.start = start
        self.make_parameters()

    def initial_values(self):
        return {"temperature": torch.full((self.shape.num_heads,), self.start)}

    def forward(self, heads, x, memory, positions):
        query, key = positions.rotate(heads.query * self.temperature[:, None, None], heads.key)
        return Logits(query, key)

    def formula(self, q, k, x, y, h, i, j):
        return self.temperature[h] * (q * k).sum()

    @staticmethod
    def num_params(shape, start=1.0):
        return shape.num_heads

    @staticmethod
    def flops(shape, length, memory=None, start=1.0):
        return 2 * shape.hidden_size * length * (memory or length)


register(Mechanism("tempered", PROJECTIONS["shared_key_value"], Tempered, "nobody 2026"))
'''


def with_group(name, group=ParameterGroup(("scale",))):  # noqa: B008
    return Mechanism("grouped", Separate, type("Grouped", (DotProduct,), {"parameter_groups": {name: group}}), "")


def test_published_names_stand_in_reading_order():
    assert names()[:4] == ["dot_product", "symmetric", "pairwise", "shared"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mechanism("pairwse"), "did you mean 'pairwise'"),
        (
            lambda: MultiHeadAttention("pairwise", 6, 2, 4, coefficient_init="identity"),
            "did you mean 'coefficients_init'",
        ),
        (lambda: MultiHeadAttention("pairwise", 6, 2, 4, coefficients_init="identiy"), "did you mean 'identity'"),
        (lambda: MultiHeadAttention("shared", 6, 2, 4, scale_init="zeros"), "'ones' or 'normal'"),
        (lambda: MultiHeadAttention("dot_product", 6, 2, 4, projection="shared_key_valu"), "'shared_key_value'"),
        (
            lambda: mechanism("factorized_random").check_options({"rank": "four"}, Shape(6, 2, 4)),
            "factorized_random with {'rank': 'four'}: a value of the wrong type",
        ),
        (
            lambda: mechanism("factorized_random").check_options({"rank": 2.5}, Shape(6, 2, 4)),
            "factorized_random with {'rank': 2.5}: a value of the wrong type",
        ),
        (lambda: MultiHeadAttention("dot_product", 10, 4, 4), "not divisible by num_heads = 4"),
        (lambda: MultiHeadAttention("dot_product", 8, 0, 4), "num_heads = 0"),
        (lambda: register(mechanism("shared")), "registered already"),
        (
            lambda: register(Mechanism("loose", Separate, nn.Module, "")),
            "mechanism 'loose': Module must derive from leanformer.attention.Compatibility",
        ),
        (
            lambda: register(Mechanism("named", "separate", DotProduct, "")),
            "mechanism 'named': 'separate' is no class: give one that derives from leanformer.attention.Projection",
        ),
        (
            lambda: register(Mechanism("bare", Separate, type("Bare", (Compatibility,), {"forward": print}), "")),
            "mechanism 'bare': Bare lacks formula, num_params, flops: define what Compatibility leaves open",
        ),
        (
            lambda: register(Mechanism("bare", Projection, DotProduct, "")),
            "mechanism 'bare': Projection lacks forward, formula, num_params, flops",
        ),
        (lambda: register(with_group("muon")), "parameter_groups of Grouped: 'muon' is Muon's own group"),
        (
            lambda: register(with_group("a.b")),
            "parameter_groups of Grouped: 'a.b': use letters, digits and underscores",
        ),
        (lambda: register(with_group("a", 3.0)), "parameter_groups of Grouped: a = 3.0: give a ParameterGroup"),
        (
            lambda: register(Mechanism("old", Separate, type("Old", (DotProduct,), {"position_tables": ("a",)}), "")),
            "position_tables of Old is not read: declare parameter_groups",
        ),
        (lambda: register(Mechanism("Bad Name", Separate, DotProduct, "")), "lower-case"),
        (lambda: register(Mechanism("random+dot", Separate, DotProduct, "")), "lower-case"),
    ],
)
def test_mistakes_are_refused_with_a_remedy(call, message):
    with pytest.raises(ValueError, match=message.replace("+", r"\+")):
        call()


def test_options_are_listed_with_their_defaults():
    assert mechanism("pairwise").options() == {"projection": "shared_query_key", "coefficients_init": "normal"}
    assert mechanism("pairwise").options("shared_all") == {
        "projection": "shared_all",
        "scale_init": "ones",
        "coefficients_init": "normal",
    }


def test_a_plugin_is_a_full_citizen(tmp_path):
    file = tmp_path / "my_mechanism.py"
    file.write_text(PLUGIN)
    assert load_plugin(file) == ["tempered"]
    assert load_plugin(file) == [], "loading twice must be harmless"
    check_mechanism("tempered")
    check_mechanism("tempered", projection="separate")


def test_a_plugin_may_be_the_first_to_import_what_it_registers_in(tmp_path):
    """Its own names are told from ours, though the table of blocks is not there before the file is read."""
    file = tmp_path / "mine.py"
    file.write_text(
        "from leanformer.models.blocks import Block, register_block\n"
        "class Mine(Block):\n    pass\nregister_block('mine', Mine)\n"
    )
    code = f"from leanformer.attention import load_plugin; print(load_plugin({str(file)!r}))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.stdout == "['mine']\n", ran.stderr


def test_a_projection_of_a_plugin_is_checked_too(tmp_path):
    file = tmp_path / "mine.py"
    for made, message in (
        ("'separate'", "projection 'mine': 'separate' is no class: give one that derives from leanformer.attention"),
        ("type('Mine', (Projection,), {})", "projection 'mine': Mine lacks forward, formula, num_params, flops"),
        (
            "type('Mine', (PROJECTIONS['separate'],), {'parameter_groups': {'muon': ParameterGroup(('key',))}})",
            "parameter_groups of Mine: 'muon' is Muon's own group",
        ),
    ):
        file.write_text(
            f"from leanformer.attention import PROJECTIONS, ParameterGroup, Projection\nPROJECTIONS['mine'] = {made}\n"
        )
        with pytest.raises(ValueError, match=f"mine.py failed to load: ValueError: {message}"):
            load_plugin(file)
        assert "mine" not in PROJECTIONS


def test_a_plugin_whose_text_has_changed_is_loaded_again(tmp_path):
    file = tmp_path / "my_mechanism.py"
    file.write_text(PLUGIN)
    load_plugin(file)
    before = mechanism("tempered").compatibility
    file.write_text(PLUGIN + "\nraise RuntimeError('a slip')")
    with pytest.raises(ValueError, match="a slip"):
        load_plugin(file)
    assert mechanism("tempered").compatibility is before, "what worked stays until its successor works"
    file.write_text(PLUGIN.replace("tempered", "tempered_anew"))
    assert load_plugin(file) == ["tempered_anew"] and "tempered" not in names()


def test_a_broken_plugin_is_named_and_leaves_nothing(tmp_path):
    file = tmp_path / "broken.py"
    file.write_text(PLUGIN + "\nraise RuntimeError('too late')")
    with pytest.raises(ValueError, match=r"broken\.py failed to load: RuntimeError: too late"):
        load_plugin(file)
    assert "tempered" not in names()
    with pytest.raises(FileNotFoundError, match="does not exist"):
        load_plugin(tmp_path / "absent.py")
    (tmp_path / "plugin.txt").write_text("")
    with pytest.raises(ValueError, match="must end in .py"):
        load_plugin(tmp_path / "plugin.txt")


@pytest.mark.parametrize(
    ("members", "multiplier", "message"),
    [("gain", 1.0, "a tuple of names"), (("gain",), -3.0, "a positive number"), (("gain",), math.nan, "positive")],
)
def test_a_group_of_parameters_that_means_nothing_is_refused(members, multiplier, message):
    with pytest.raises(ValueError, match=message):
        ParameterGroup(members, multiplier)
