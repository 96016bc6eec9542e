"""What is special: symmetry, and the weights at which one mechanism becomes another."""

import pytest
import torch
from torch.testing import assert_close

from leanformer.attention import MultiHeadAttention, Positions, Rotary, names
from leanformer.attention.testing import B, D, H, K, L, inputs, layer


def scores(module, x):
    heads = module.projection(x, x)
    return module.compatibility(heads, x, x, Positions.of(torch.arange(x.shape[1])[None])).dense()


@pytest.mark.parametrize("name", ["symmetric", "shared"])
def test_scores_are_symmetric(name):
    logits = scores(layer(name, {}), inputs(2, L))
    assert_close(logits, logits.transpose(-1, -2))


@pytest.mark.parametrize("name", ["dot_product", "pairwise"])
def test_scores_are_directed(name):
    logits = scores(layer(name, {}), inputs(2, L))
    assert (logits - logits.transpose(-1, -2)).abs().max() > 0.1


def test_symmetric_scores_are_a_gram_matrix_and_shared_ones_need_not_be():
    x = inputs(2, L)
    assert torch.linalg.eigvalsh(scores(layer("symmetric", {}), x)).min() > -1e-12
    assert torch.linalg.eigvalsh(scores(layer("shared", {}), x)).min() < -1e-3


def copy(target, source, names):
    own, other = target.state_dict(), source.state_dict()
    target.load_state_dict({name: other[names.get(name, name)] if name in names else own[name] for name in own})


def test_pairwise_with_identity_is_symmetric():
    symmetric, pairwise = layer("symmetric", {}), layer("pairwise", {})
    state = symmetric.state_dict() | {"compatibility.coefficients": torch.eye(K, dtype=torch.float64).repeat(H, 1, 1)}
    pairwise.load_state_dict(state)
    assert_close(pairwise(inputs(2, L)), symmetric(inputs(2, L)))


def test_baseline_with_equal_maps_is_symmetric():
    symmetric, baseline = layer("symmetric", {}), layer("dot_product", {})
    state = symmetric.state_dict()
    token = {part: state.pop(f"projection.token.{part}") for part in ("weight", "bias")}
    state |= {f"projection.{name}.{part}": value for name in ("query", "key") for part, value in token.items()}
    baseline.load_state_dict(state)
    assert_close(baseline(inputs(2, L)), symmetric(inputs(2, L)))


def test_baseline_whose_key_absorbs_the_coefficients_is_pairwise():
    """q U (k)' with k = x W + b is q (x W U' + b U')'."""
    pairwise, baseline = layer("pairwise", {}), layer("dot_product", {})
    state = pairwise.state_dict()
    coefficients = state.pop("compatibility.coefficients")
    weight, bias = state.pop("projection.token.weight"), state.pop("projection.token.bias")
    state["projection.query.weight"], state["projection.query.bias"] = weight, bias
    state["projection.key.weight"] = torch.einsum("hab,hbd->had", coefficients, weight.view(H, K, D)).reshape(D, D)
    state["projection.key.bias"] = torch.einsum("hab,hb->ha", coefficients, bias.view(H, K)).reshape(D)
    baseline.load_state_dict(state)
    assert_close(baseline(inputs(2, L)), pairwise(inputs(2, L)))


def test_shared_with_unit_scales_is_symmetric_whose_value_is_its_token():
    shared, symmetric = layer("shared", {}), layer("symmetric", {})
    state = shared.state_dict()
    for part in ("query", "key", "value"):
        state.pop(f"projection.{part}_scale")
        getattr(shared.projection, f"{part}_scale").data.fill_(1.0)
    source = {part: state.pop(f"projection.shared.{part}") for part in ("weight", "bias")}
    state |= {f"projection.{name}.{part}": value for name in ("token", "value") for part, value in source.items()}
    symmetric.load_state_dict(state)
    assert_close(shared(inputs(2, L)), symmetric(inputs(2, L)))


@pytest.mark.parametrize(
    ("init", "std"), [("normal", 1.0), ("scaled_normal", 64**-0.5)], ids=["normal", "scaled_normal"]
)
def test_pairwise_coefficients_start_at_their_scale(init, std):
    module = MultiHeadAttention("pairwise", 512, 8, 16, coefficients_init=init)
    coefficients = module.compatibility.coefficients
    assert coefficients.shape == (8, 64, 64)
    assert abs(coefficients.std().item() / std - 1) < 0.02
    assert abs(coefficients.mean().item()) < 0.02 * std


def test_pairwise_starts_at_symmetric_with_identity():
    module = MultiHeadAttention("pairwise", 6, 2, 16, coefficients_init="identity")
    assert_close(module.compatibility.coefficients.detach(), torch.eye(3).expand(2, 3, 3))


def test_shared_starts_as_one_projection():
    module = MultiHeadAttention("shared", 6, 2, 16)
    x = torch.randn(B, L, 6)
    value, query, key = module.projection(x, x)
    assert_close(query, value)
    assert_close(key, value)


def test_a_tied_projection_is_computed_once_in_self_attention():
    calls = []
    module = layer("symmetric", {})
    module.projection.token.register_forward_hook(lambda *_: calls.append(1))
    module(inputs(2, L))
    assert len(calls) == 1


@pytest.mark.parametrize("name", names())
def test_heads_and_logits_stay_in_bf16_under_autocast(name):
    """A float32 factor anywhere would silently double the memory and leave the fast matrix products."""
    module = MultiHeadAttention(name, 12, 2, 16)
    x = torch.randn(B, L, 12)
    with torch.autocast("cpu", torch.bfloat16):
        heads = module.projection(x, x)
        positions = Positions.of(torch.arange(L)[None], rotary=Rotary(6))
        logits = module.compatibility(heads, x, x, positions)
    for part in (*heads, *logits):
        assert part is None or part.dtype == torch.bfloat16 or len(part) == 1, "a table may stay, it has no batch"
