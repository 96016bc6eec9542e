"""Grouped heads against separate ones whose rows are repeated, against Hugging Face's counts, and what is refused."""

import pytest
import torch
from torch.testing import assert_close

from leanformer.attention import MultiHeadAttention, Positions, Rotary, Shape, mechanism
from leanformer.attention.grouped_heads import kv_shape

B, L, M, H, K, D = 2, 5, 7, 6, 4, 13
ROWS = [
    ("dot_product", {}),
    ("dot_product", {"projection": "shared_key_value"}),
    ("pairwise", {"projection": "separate"}),
    ("pairwise", {"projection": "shared_key_value"}),
    ("random+dot_product", {}),
]
ROTARY = [*ROWS[:4], ("phased", {"projection": "separate"})]


def row_id(row):
    return "-".join([row[0], *map(str, row[1].values())])


def layer(name, options, kv_heads=None, **more):
    torch.manual_seed(1)
    groups = {} if kv_heads is None else {"kv_heads": kv_heads}
    made = MultiHeadAttention(name, D, H, M, head_size=K, **options, **groups, **more).double()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_(std=0.5)
    return made


def pair(name, options, kv_heads, **more):
    """A layer of grouped heads, and one of as many key heads as query heads with the same rows, each H / G times."""
    few, many = layer(name, options, kv_heads, **more), layer(name, options, **more)
    state = few.state_dict()
    for key, value in many.state_dict().items():
        if state[key].shape != value.shape:
            heads = state[key].unflatten(0, (kv_heads, K))
            state[key] = torch.stack([heads[h * kv_heads // H] for h in range(H)]).flatten(0, 1)
    many.load_state_dict(state)
    return few, many


def gradients(module, x, output):
    leaves = dict(module.named_parameters()) | {"x": x}
    found = torch.autograd.grad(output.square().sum(), list(leaves.values()))
    return dict(zip(leaves, found, strict=True))


def places(rotary):
    return Positions.of(torch.tensor([[3, 0, 11, 5, 7]]), rotary=Rotary(K, base=7.0)) if rotary else None


@pytest.mark.parametrize("kv_heads", [1, 2, 3])
@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize(
    ("row", "rotary"), [*((row, False) for row in ROWS), *((row, True) for row in ROTARY)], ids=str
)
def test_they_are_separate_heads_with_repeated_rows(row, rotary, fused, kv_heads):
    """Values; and the gradient of a row that several heads read is the sum of those of its copies."""
    x = torch.randn(B, L, D, dtype=torch.float64, requires_grad=True)
    padding = torch.ones(B, 1, 1, L, dtype=torch.bool)
    padding[1, ..., 3:] = False
    for more in ({}, {"qk_norm": True, "bias": False}):
        few, many = pair(*row, kv_heads, **more)
        few.fused = many.fused = fused
        for how in ({}, {"causal": True}, {"mask": padding}, {"mask": padding, "causal": True}):
            outputs = [module(x, positions=places(rotary), **how) for module in (few, many)]
            assert_close(*outputs, rtol=1e-12, atol=1e-12)
            found, expected = (gradients(module, x, y) for module, y in zip((few, many), outputs, strict=True))
            for name, gradient in found.items():
                if gradient.shape != expected[name].shape:
                    heads = expected[name].unflatten(0, (kv_heads, H // kv_heads, K))
                    expected[name] = heads.sum(1).flatten(0, 1)
                assert_close(gradient, expected[name], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name_and_options", ROWS[:2], ids=row_id)
def test_cross_attention_groups_too(name_and_options):
    few, many = pair(*name_and_options, 2)
    x, memory = torch.randn(B, L, D).double(), torch.randn(B, M, D).double()
    assert_close(few(x, memory), many(x, memory), rtol=1e-12, atol=1e-12)
    context, weights = few(x, memory, return_weights=True)
    assert_close((context, weights), many(x, memory, return_weights=True), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("row", ROWS, ids=row_id)
def test_as_many_key_heads_as_heads_change_no_bit(row):
    plain, grouped = layer(*row), layer(*row, kv_heads=H)
    grouped.load_state_dict(plain.state_dict())
    x = torch.randn(B, L, D, dtype=torch.float64, requires_grad=True)
    outputs = plain(x), grouped(x)
    assert torch.equal(*outputs)
    first, second = (gradients(*each) for each in ((plain, x, outputs[0]), (grouped, x, outputs[1])))
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("row", [*ROWS, ("random+pairwise", {"projection": "separate"})], ids=row_id)
@pytest.mark.parametrize("kv_heads", [1, 3])
def test_counts_are_those_of_the_layer(row, kv_heads):
    name, options = row
    for more in ({}, {"bias": False, "qk_norm": True}):
        made = layer(*row, kv_heads, **more)
        assert made.num_params() == sum(parameter.numel() for parameter in made.parameters())
        assert mechanism(name).kv_heads(made.shape, kv_heads=kv_heads, **options) == kv_heads


def test_shapes_are_the_documented_ones():
    heads = layer("dot_product", {}, 2).projection(torch.randn(B, L, D).double(), torch.randn(B, M, D).double())
    assert (heads.query.shape, heads.key.shape, heads.value.shape) == ((B, H, L, K), (B, 2, M, K), (B, 2, M, K))


@pytest.mark.parametrize("wrong", [0, -1, 4, 7, 12, True, 2.0, "1"])
def test_groups_are_equal(wrong):
    with pytest.raises(ValueError, match=r"kv_heads = .*: 6 query heads .* choose one of 1, 2, 3, 6"):
        kv_shape(Shape(D, H, M, head_size=K), wrong)


@pytest.mark.parametrize(
    "row", [("symmetric", {}), ("shared", {}), ("dot_product", {"projection": "shared_query_value"})]
)
def test_what_ties_the_query_has_no_groups(row):
    name, options = row
    with pytest.raises(ValueError, match=f"{name}: kv_heads = 1 .* take projection = 'separate' or 'shared_key_value'"):
        mechanism(name).check_options(options | {"kv_heads": 1})


def test_scores_without_keys_have_no_groups():
    with pytest.raises(ValueError, match="random: kv_heads = 1 .*projection = 'value_only'"):
        mechanism("random").check_options({"kv_heads": 1})


def test_a_key_that_starts_as_the_query_needs_all_its_heads():
    with pytest.raises(ValueError, match="key_init = 'query'"):
        mechanism("dot_product").check_options({"kv_heads": 1, "key_init": "query"}, Shape(12, 3, 8))
