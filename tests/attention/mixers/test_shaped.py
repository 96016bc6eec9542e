"""Shaped attention against its formula, a matrix at a time; what it is in the limits; decoders and their cache."""

import pytest
import torch
from torch.testing import assert_close

from leanformer.attention import MultiHeadAttention, Positions, Rotary, build_mixer
from leanformer.attention.reference import gradients_of
from leanformer.attention.shape import Shape
from leanformer.models import LeanformerConfig, LeanformerForCausalLM, LeanformerForMaskedLM, LeanformerModel
from leanformer.models.initialisation import initialise

B, L, H, K, LONGEST = 2, 7, 3, 6, 13
D = H * K
MECHANISMS = [
    ("dot_product", {}, {}),
    ("dot_product", {"projection": "identity_query"}, {}),
    ("dot_product", {"projection": "shared_key_value"}, {"value_map": True}),
    ("dot_product", {"kv_heads": 1}, {"value_map": True, "output_map": True}),
    ("symmetric", {}, {}),
    ("pairwise", {}, {"output_map": True}),
    ("pairwise", {"projection": "separate"}, {}),
    ("random", {}, {}),
    ("dense", {}, {"value_map": True}),
    ("random+symmetric", {}, {}),
    ("relative_bias", {}, {}),
]
every = pytest.mark.parametrize(("mechanism", "options", "mixing"), MECHANISMS, ids=str)


def layer(mechanism="dot_product", options=(), mixing=(), **more):
    torch.manual_seed(1)
    shape = Shape(D, H, LONGEST, **more)
    built = build_mixer("shaped", dict(mixing), mechanism, dict(options), shape).double().eval()
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.normal_(std=0.5)
    return built


def inputs(seed, length=L):
    return torch.randn(B, length, D, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def padding(*places):
    mask = torch.ones(B, 1, 1, L, dtype=torch.bool)
    mask[1, ..., list(places)] = False
    return mask


def formula(module, x, mask, causal, rotary=None):
    """alpha I + beta A - gamma C as matrices, a head and an example at a time."""
    heads = module.projection(x, x)
    places = Positions.counted(L, L, x.device, rotary)
    scores = module.compatibility(heads, x, x, places).dense().expand(B, H, L, L)
    visible = torch.ones(B, H, L, L, dtype=torch.bool) if mask is None else mask.expand(B, H, L, L)
    visible = visible.tril() if causal else visible
    rows = []
    for b in range(B):
        parts = []
        for h in range(H):
            own = x[b, :, h * K : (h + 1) * K]
            if module.mixing["value_map"]:
                group = h * heads.value.shape[1] // H
                own = heads.value[b, group]
            seen = visible[b, h].double()
            weights = scores[b, h].exp() * seen
            weights = weights / weights.sum(-1, keepdim=True).clamp(min=1e-300)
            even = seen / seen.sum(-1, keepdim=True).clamp(min=1)
            matrix = module.alpha[h] * torch.eye(L, dtype=x.dtype) + module.beta[h] * weights - module.gamma[h] * even
            parts.append(matrix @ own)
        rows.append(module.output(torch.cat(parts, dim=-1)))
    return torch.stack(rows)


@every
@pytest.mark.parametrize("causal", [False, True])
def test_values_and_gradients_equal_the_formula(mechanism, options, mixing, causal):
    module, x, weight = layer(mechanism, options, mixing), inputs(2).requires_grad_(), inputs(3)
    documents = torch.tensor([[0, 0, 0, 1, 1, 2, 2], [0, 1, 1, 1, 1, 1, 1]])
    pairs = (documents[:, :, None] == documents[:, None, :])[:, None]
    for mask in (None, padding(0, 4, 6), pairs):
        expected = formula(module, x, mask, causal)
        wanted = gradients_of(module, [x], (expected * weight).sum())
        for module.fused in (False, True):
            actual = module(x, mask=mask, causal=causal)
            assert_close(actual, expected, rtol=1e-9, atol=1e-11)
            for leaf, gradient in gradients_of(module, [x], (actual * weight).sum()).items():
                assert_close(gradient, wanted[leaf], rtol=1e-8, atol=1e-10, msg=leaf)


@pytest.mark.parametrize("mechanism", ["dot_product", "pairwise", "symmetric"])
def test_rotary_positions_rotate_queries_and_keys_alone(mechanism):
    module, x, rotary = layer(mechanism), inputs(2), Rotary(K)
    found = module(x, positions=Positions.counted(L, L, x.device, rotary))
    assert_close(found, formula(module, x, None, False, rotary))
    assert (found - module(x)).abs().max() > 1e-3


def test_beta_alone_is_attention_with_identities_for_value_and_output():
    module, plain = layer(), MultiHeadAttention("dot_product", D, H, LONGEST).double()
    with torch.no_grad():
        module.alpha.zero_(), module.gamma.zero_(), module.beta.fill_(1)
        for part in (plain.projection.value, plain.output):
            part.weight.copy_(torch.eye(D)), part.bias.zero_()
    plain.load_state_dict(
        module.state_dict() | {k: v for k, v in plain.state_dict().items() if k not in module.state_dict()},
        strict=False,
    )
    for mask in (None, padding(5, 6)):
        assert_close(module(inputs(2), mask=mask), plain(inputs(2), mask=mask))


@pytest.mark.parametrize(("mechanism", "same"), [("dot_product", True), ("symmetric", False), ("pairwise", False)])
def test_it_starts_as_the_identity_where_the_query_has_a_map_of_its_own(mechanism, same):
    config = LeanformerConfig(
        attention=mechanism, mixer="shaped", hidden_size=D, num_attention_heads=H, num_hidden_layers=2
    )
    model = LeanformerModel(config, add_pooling_layer=False).eval()
    initialise(model, seed=3)
    for each in model.layers:
        x = torch.randn(2, 5, D)
        assert ((each.attention(x) - x).abs().max() < 1e-6) == same
        assert {name: value.tolist() for name, value in each.attention.named_parameters(recurse=False)} == {
            name: [1.0] * H for name in ("alpha", "beta", "gamma")
        }


def test_the_query_leaves_zero():
    config = LeanformerConfig(mixer="shaped", hidden_size=D, num_attention_heads=H, num_hidden_layers=1, vocab_size=31)
    model = LeanformerForMaskedLM(config)
    initialise(model, seed=3)
    ids = torch.arange(5, 16)[None]
    model(ids, labels=ids).loss.backward()
    layer_ = model.encoder.layers[0].attention
    assert not layer_.projection.query.weight.any() and layer_.projection.query.weight.grad.abs().max() > 0


def test_what_is_left_out_is_in_no_state_and_no_list_of_maps():
    module = layer()
    assert set(module.state_dict()) == {"alpha", "beta", "gamma"} | {
        f"projection.{name}.{kind}" for name in ("query", "key") for kind in ("weight", "bias")
    }
    assert module.num_params() == sum(p.numel() for p in module.parameters()) == 2 * (D * D + D) + 3 * H


def test_half_precision():
    module, x = layer().float(), inputs(2).float()
    for mask, causal in ((None, False), (padding(6), True)):
        expected = module(x, mask=mask, causal=causal)
        with torch.autocast("cpu", torch.bfloat16):
            half = module(x, mask=mask, causal=causal)
        assert (half.float() - expected).norm() < 0.02 * expected.norm()


def test_it_compiles_whole():
    module = layer()
    torch.compiler.reset()
    compiled = torch.compile(module, fullgraph=True, backend="eager")
    for mask in (None, padding(5, 6)):
        assert_close(compiled(inputs(2), mask=mask), module(inputs(2), mask=mask))


@pytest.mark.parametrize("attention", ["dot_product", "pairwise", "dense"])
@pytest.mark.parametrize("positions", ["learned", "rotary"])
def test_a_decoder_writes_with_its_cache_what_it_reads_without(attention, positions):
    if (attention, positions) == ("dense", "rotary"):
        return
    sizes = {"hidden_size": D, "num_attention_heads": H, "num_hidden_layers": 2, "vocab_size": 31, "norm": "pre"}
    config = LeanformerConfig(attention=attention, mixer="shaped", positions=positions, type_vocab_size=0, **sizes)
    model = LeanformerForCausalLM(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
    ids = torch.randint(0, 31, (2, 9), generator=torch.Generator().manual_seed(1))
    whole = model(ids).logits
    first = model(ids[:, :4], use_cache=True)
    found, past = [first.logits], first.past_key_values
    for place in range(4, 9):
        step = model(ids[:, place : place + 1], past_key_values=past, use_cache=True)
        found.append(step.logits)
        past = step.past_key_values
    assert_close(torch.cat(found, dim=1), whole, rtol=1e-4, atol=1e-4)
    other = ids.clone()
    other[:, 5:] = 3
    assert_close(model(other).logits[:, :5], whole[:, :5])
    left = torch.cat((torch.zeros(2, 2, dtype=torch.long), ids), dim=1)
    mask = torch.ones_like(left).index_fill(1, torch.tensor([0, 1]), 0)
    places = torch.arange(11)[None].sub(2).clamp(min=0).expand(2, -1)
    if attention != "dense":
        assert_close(model(left, attention_mask=mask, position_ids=places).logits[:, 2:], whole, rtol=1e-4, atol=1e-4)
