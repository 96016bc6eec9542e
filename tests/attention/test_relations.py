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


@pytest.mark.parametrize("name", ["dot_product", "pairwise", "phased"])
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


def test_phased_with_no_phase_and_unit_gain_is_symmetric():
    """With and without rotary positions."""
    symmetric, phased = layer("symmetric", {}), layer("phased", {})
    state = symmetric.state_dict() | {
        "compatibility.phases": torch.zeros(D // 2),
        "compatibility.gains": torch.ones(D // 2),
    }
    phased.load_state_dict(state)
    x, ids = inputs(2, L), torch.arange(L)[None]
    for rotary in (None, Rotary(K)):
        positions = Positions.of(ids, rotary=rotary)
        assert_close(phased(x, positions=positions), symmetric(x, positions=positions))


def test_pairwise_can_say_what_phased_says():
    """The coefficients of a plane turn and scale it."""
    phased, pairwise = layer("phased", {}), layer("pairwise", {})
    state = phased.state_dict()
    phases, gains = (state.pop(f"compatibility.{name}").view(H, K // 2) for name in ("phases", "gains"))
    cos, sin = (torch.diag_embed(gains * part) for part in (phases.cos(), phases.sin()))
    rows = torch.cat((cos, sin), dim=-1), torch.cat((-sin, cos), dim=-1)
    pairwise.load_state_dict(state | {"compatibility.coefficients": torch.cat(rows, dim=-2)})
    assert_close(pairwise(inputs(2, L)), phased(inputs(2, L)))


@pytest.mark.parametrize("projection", ["shared_query_key", "shared_all", "separate"])
@pytest.mark.parametrize("offset", [-1, 2])
def test_a_phase_is_an_offset(projection, offset):
    """Phases of theta_c d score what stands at p as the dot product scores it at p - d."""
    phased, plain = (layer(name, {"projection": projection}) for name in ("phased", "dot_product"))
    frequency = 10_000.0 ** (-torch.arange(K // 2, dtype=torch.float64) / (K // 2))
    phased.compatibility.phases.data = (offset * frequency).repeat(H)
    phased.compatibility.gains.data.fill_(1.0)
    plain.load_state_dict({k: v for k, v in phased.state_dict().items() if "compatibility" not in k})
    x, ids, before = inputs(2, L), torch.tensor([[3, 0, 11, 5, 7]]), torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        ours = phased(x, positions=Positions.of(ids, rotary=Rotary(K)))
        theirs = plain(x, positions=Positions.of(ids, ids - offset, rotary=Rotary(K)))
    finally:
        torch.set_default_dtype(before)
    assert_close(ours, theirs)


@pytest.mark.parametrize(
    ("name", "scale", "even"),
    [("symmetric", None, True), ("shared", 1.0, True), ("shared", None, False), ("phased", None, False)],
)
def test_equal_tokens_tell_before_from_after_by_phases_or_by_scales_that_differ_in_a_plane(name, scale, even):
    module = layer(name, {})
    if scale is not None:
        for part in ("query", "key", "value"):
            getattr(module.projection, f"{part}_scale").data.fill_(scale)
    x = inputs(2, 1).expand(-1, L, -1)
    heads, positions = module.projection(x, x), Positions.of(torch.arange(L)[None], rotary=Rotary(K))
    logits = module.compatibility(heads, x, x, positions).dense()
    difference = (logits - logits.transpose(-1, -2)).abs().max()
    assert difference < 1e-5 if even else difference > 0.01


def test_phased_starts_as_told_and_wants_pairs():
    module = MultiHeadAttention("phased", 1024, 8, 16, phase_std=0.5).compatibility
    assert module.phases.shape == module.gains.shape == (512,)
    assert abs(module.phases.std().item() / 0.5 - 1) < 0.1
    assert_close(module.gains.detach(), torch.ones(512))
    assert not MultiHeadAttention("phased", 1024, 8, 16, phase_std=0.0).compatibility.phases.any()
    with pytest.raises(ValueError, match="head size 3 must be even"):
        MultiHeadAttention("phased", 6, 2, 16)
    gains = MultiHeadAttention("phased", 1024, 8, 16, phases=False).compatibility
    assert not gains.phases.any() and not gains.phases.requires_grad and gains.gains.requires_grad
    phases = MultiHeadAttention("phased", 1024, 8, 16, gains=False).compatibility
    assert phases.phases.requires_grad and not phases.gains.requires_grad
    with pytest.raises(ValueError, match="neither phases nor gains is symmetric"):
        MultiHeadAttention("phased", 8, 2, 16, phases=False, gains=False)
    with pytest.raises(ValueError, match="phase_std = -1 must not be negative"):
        MultiHeadAttention("phased", 8, 2, 16, phase_std=-1)


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
