"""What the Synthesizer's public implementations got wrong, each a test of its own."""

import pytest
import torch
from torch.testing import assert_close

from leanformer.attention import MultiHeadAttention, Positions, mechanism, names
from leanformer.attention.testing import MAX_LENGTH, B, H, K, L, inputs, layer

TABLES = ("random", "fixed_random", "factorized_random")
SYNTHETIC = (*TABLES, "dense", "factorized_dense")


def scores(module, x, positions=None):
    positions = positions or Positions.counted(x.shape[1], x.shape[1], x.device)
    return module.compatibility(module.projection(x, x), x, x, positions).dense()


def test_rows_of_factorized_random_differ_and_its_rank_is_that_of_its_factors():
    table = scores(layer("factorized_random", {"rank": 3}), inputs(2, MAX_LENGTH))[0]
    assert (table[:, 0] - table[:, 1]).abs().max() > 0.1
    assert torch.linalg.matrix_rank(table).tolist() == [3] * H


@pytest.mark.parametrize(("length", "options", "factors"), [(512, {}, (16, 32)), (12, {"a": 4, "b": 6}, (4, 6))])
def test_factorized_dense_has_as_many_different_logits_as_positions(length, options, factors):
    """Also where a and b have common divisors: repeated in one order only lcm(a, b) would differ."""
    module = MultiHeadAttention("factorized_dense", 6, 2, length, **options).double()
    assert (module.compatibility.a, module.compatibility.b) == factors
    for name in ("second", "second_bias"):
        torch.nn.init.normal_(getattr(module.compatibility, name))
    row = scores(module, torch.randn(1, length, 6, dtype=torch.float64))[0, 0, 0]
    assert len(row.unique()) == length


@pytest.mark.parametrize("name", ["dense", "factorized_dense"])
def test_a_dense_row_depends_on_its_own_token_only(name):
    module = layer(name, {})
    x, other = inputs(2, L), inputs(2, L)
    other[:, 3] += 1
    before, after = scores(module, x), scores(module, other)
    moved = (before - after).abs().amax((0, 1, 3)) > 0
    assert moved.tolist() == [i == 3 for i in range(L)]


def test_dense_heads_are_not_scrambled():
    """Head h of the logits is made of head h of the hidden layer."""
    module = layer("dense", {"second_layer": "shared"})
    x = inputs(2, L)
    before = scores(module, x)
    with torch.no_grad():
        module.compatibility.first.weight[K : 2 * K] += 1  # the rows of the second head
    moved = (before - scores(module, x)).abs().amax((0, 2, 3)) > 0
    assert moved.tolist() == [False, True, False]


@pytest.mark.parametrize("name", TABLES)
def test_a_table_does_not_depend_on_the_input(name):
    module = layer(name, {})
    assert_close(scores(module, inputs(2, L)), scores(module, inputs(5, L)))


@pytest.mark.parametrize("name", SYNTHETIC)
def test_weights_are_a_softmax_that_renormalises_over_what_is_visible(name):
    module = layer(name, {})
    _, weights = module(inputs(2, L), causal=True, return_weights=True)
    assert_close(weights.sum(-1), torch.ones(B, H, L, dtype=torch.float64))
    assert weights.min() >= 0 and weights.triu(1).max() == 0
    assert_close(weights[..., 0, 0], torch.ones(B, H, dtype=torch.float64))
    visible = scores(module, inputs(2, L))[..., 2, :3].softmax(-1)
    assert_close(weights[..., 2, :3], visible.expand(B, H, 3))


@pytest.mark.parametrize("name", SYNTHETIC)
def test_what_learns_learns_and_what_is_fixed_does_not(name):
    module = layer(name, {})
    before = {key: value.clone() for key, value in module.state_dict().items()}
    optimizer = torch.optim.SGD(module.parameters(), lr=1.0)
    module(inputs(2, L)).square().sum().backward()
    optimizer.step()
    own = {key for key in before if key.startswith("compatibility.")}
    moved = {key for key in own if not torch.equal(module.state_dict()[key], before[key])}
    assert own and moved == (set() if name == "fixed_random" else own)


def test_a_fixed_table_is_saved_and_starts_from_the_scale_asked_for():
    module = MultiHeadAttention("fixed_random", 6, 2, 200, init_std=3.0)
    assert "compatibility.table" in module.state_dict() and not list(module.compatibility.parameters())
    assert abs(module.compatibility.table.std().item() - 3) < 0.1


@pytest.mark.parametrize("name", ["random", "factorized_random"])
def test_tables_start_from_the_same_scale_of_logits(name):
    module = MultiHeadAttention(name, 6, 2, 400, init_std=0.5)
    assert abs(scores(module, torch.randn(1, 400, 6)).std().item() - 0.5) < 0.05


@pytest.mark.parametrize("name", SYNTHETIC)
def test_scattered_positions_look_up_what_counted_ones_cut(name):
    """Left padding gives every example positions of its own."""
    module, x = layer(name, {}), inputs(2, L)
    counted = scores(module, x)
    looked_up = scores(module, x, Positions.of(torch.arange(L).expand(B, L)))
    assert_close(looked_up, counted.expand_as(looked_up))
    shifted = scores(module, x, Positions.of(torch.tensor([[0, 1, 2, 3, 4], [0, 0, 0, 1, 2]])))
    assert_close(shifted[0], counted.expand(B, -1, -1, -1)[0])
    row_two = 4 if name in TABLES else 2
    if name in TABLES:
        assert_close(shifted[1][:, row_two, 2:], counted[0, :, 2, :3])


@pytest.mark.parametrize("name", [name for name in names() if not mechanism(name).cross])
def test_cross_attention_is_refused_with_what_works(name):
    with pytest.raises(ValueError, match="cannot attend to another; these can: dot_product, symmetric, pairwise"):
        layer(name, {})(inputs(2, L), inputs(3, L))


@pytest.mark.parametrize(
    ("name", "options", "weights"),
    [
        ("dot_product", {}, 1_048_576),
        ("random", {}, 2_621_440),
        ("fixed_random", {}, 524_288),
        ("factorized_random", {}, 589_824),
        ("dense", {}, 1_048_576),
        ("dense", {"second_layer": "shared"}, 819_200),
        ("factorized_dense", {}, 811_008),
        ("random+dot_product", {}, 1_048_576 + 8 * 512**2),
        ("random+dot_product", {"weights": "softmax"}, 1_048_576 + 8 * 512**2 + 2),
        ("random+dot_product", {"weights": "sigmoid", "per_head": True}, 1_048_576 + 8 * 512**2 + 8),
        ("dense+dot_product", {"tie_query": True, "second_layer": "shared"}, 1_048_576 + 64 * 512),
    ],
)
def test_parameters_at_width_512(name, options, weights):
    with torch.device("meta"):
        module = MultiHeadAttention(name, 512, 8, 512, bias=False, **options)
    assert module.num_params() == weights
    assert sum(p.numel() for p in module.parameters()) == weights


@pytest.mark.parametrize(
    ("name", "options", "weights"),
    [
        ("random", {}, 2 * 768 * 1024 + 8 * 512**2),
        ("dense", {"second_layer": "shared"}, 3 * 768 * 1024 + 128 * 512),
        ("random+dot_product", {}, 4 * 768 * 1024 + 8 * 512**2),
    ],
)
def test_parameters_with_heads_wider_than_the_model(name, options, weights):
    with torch.device("meta"):
        module = MultiHeadAttention(name, 768, 8, 512, bias=False, head_size=128, **options)
    assert module.num_params() == weights
    assert sum(p.numel() for p in module.parameters()) == weights


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"a": 3, "b": 4}, "a x b = 3 x 4 must be positive and cover max_length = 13"),
        ({"a": 0}, "must be positive"),
        ({"second_layer": "shared"}, "no option 'second_layer'"),
    ],
)
def test_wrong_factors_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        layer("factorized_dense", options)


def test_a_tied_query_needs_a_part_that_makes_one():
    with pytest.raises(ValueError, match="value_only makes none"):
        layer("dense", {"tie_query": True})(inputs(2, L))
