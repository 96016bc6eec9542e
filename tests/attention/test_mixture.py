"""Mixtures: a weighted sum of logits inside one softmax, whatever the parts are."""

import pytest
import torch
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

from leanformer.attention import MultiHeadAttention, Positions, mechanism
from leanformer.attention.testing import B, H, L, inputs, layer


def scores(module, x, compatibility=None):
    heads, positions = module.projection(x, x), Positions.counted(x.shape[1], x.shape[1], x.device)
    return (compatibility or module.compatibility)(heads, x, x, positions).dense()


@pytest.mark.parametrize(
    ("options", "gate", "first", "second"),
    [
        ({}, None, 1.0, 1.0),
        ({"weights": "softmax"}, [1.0, 3.0], 0.25, 0.75),
        ({"weights": "sigmoid"}, 3.0, 0.75, 0.25),
    ],
)
def test_logits_are_the_weighted_sum_of_the_parts(options, gate, first, second):
    module, x = layer("random+dot_product", options), inputs(2, L)
    if gate is not None:
        module.compatibility.gate.data.copy_(torch.tensor(gate).log())
    table, product = (scores(module, x, module.compatibility.get_submodule(part)) for part in ("random", "dot_product"))
    assert_close(scores(module, x), first * table + second * product)


def test_weights_add_up_to_one_a_head():
    module = layer("random+dense+dot_product", {"weights": "softmax", "per_head": True})
    weights = module.compatibility.mixing_weights()
    assert weights.shape == (3, H)
    assert_close(weights.sum(0), torch.ones(H, dtype=torch.float64))


@pytest.mark.parametrize("weights", ["softmax", "sigmoid"])
def test_learned_weights_start_equal(weights):
    module = MultiHeadAttention("random+dot_product", 6, 2, 5, weights=weights)
    assert_close(module.compatibility.mixing_weights(), torch.full((2, 1), 0.5))


def test_a_part_keeps_its_own_parameters_and_projection():
    module = layer("random+pairwise", {"coefficients_init": "identity"})
    assert {name for name, _ in module.named_parameters() if "bias" not in name} == {
        "projection.token.weight",
        "projection.value.weight",
        "compatibility.random.table",
        "compatibility.pairwise.coefficients",
        "output.weight",
    }


def test_a_tied_query_is_the_query():
    module, x = layer("dense+dot_product", {"tie_query": True}), inputs(2, L)
    query = module.projection(x, x).query
    dense = module.compatibility.get_submodule("dense")
    assert dense.first is None
    expected = query.clamp(min=0) @ dense.second[..., :L] + dense.second_bias[..., :L]
    assert_close(scores(module, x, dense), expected)


def test_an_option_goes_to_every_part_that_knows_it():
    module = layer("random+factorized_random", {"init_std": 0.5, "rank": 2})
    parts = [module.compatibility.get_submodule(name) for name in ("random", "factorized_random")]
    assert [part.init_std for part in parts] == [0.5, 0.5]


def test_a_mixture_of_tables_shares_its_rows():
    module = layer("random+factorized_random", {})
    module(inputs(2, L))
    assert module.path == "shared_rows"
    mixed = layer("random+dense", {})
    mixed(inputs(2, L))
    assert mixed.path == "plain"


def test_evaluated_with_a_dot_product_a_table_keeps_the_fused_kernel():
    module, x = layer("random+dot_product", {}).eval(), inputs(2, L)
    padding = torch.ones(B, 1, 1, L, dtype=torch.bool)
    padding[1, ..., 3:] = False
    with torch.no_grad():
        for causal in (False, True):
            module.fused = True
            context = module(x, mask=padding, causal=causal)
            assert module.path == "fused"
            module.fused = False
            assert_close(context, module(x, mask=padding, causal=causal))


class Operators(TorchDispatchMode):
    """Names of what is computed."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        self.names.add(function.name())
        return function(*arguments, **(keywords or {}))


def test_the_kernel_behind_the_fused_path_is_the_fused_one():
    """PyTorch falls back to the formula for a bias that requires gradients, and a view of a parameter says it does."""
    module = MultiHeadAttention("random+dot_product", 64, 2, 32).eval()
    with torch.no_grad(), Operators() as operators:
        module(torch.randn(2, 32, 64))
    assert any("flash" in name for name in operators.names), sorted(operators.names)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("pairwise+dot_product", {}, "pairwise shared_query_key, dot_product separate"),
        ("random+random", {}, "names random twice"),
        ("random+dens", {}, "did you mean 'dense'"),
        ("random+dot_product", {"weights": "softmx"}, "did you mean 'softmax'"),
        ("random+dense+dot_product", {"weights": "sigmoid"}, "gate between two parts"),
        ("random+dot_product", {"weight": "softmax"}, "did you mean 'weights'"),
        ("random+dot_product", {"projection": "value_only"}, "compares queries with keys"),
    ],
)
def test_mistakes_are_refused_with_a_remedy(name, options, message):
    with pytest.raises(ValueError, match=message):
        layer(name, options)


def test_a_pair_that_needs_two_projections_works_with_one_that_is_named():
    assert mechanism("pairwise+dot_product").options("shared_query_key")["projection"] == "shared_query_key"
    module = layer("pairwise+dot_product", {"projection": "shared_query_key"})
    assert module(inputs(2, L)).isfinite().all()
