"""Latent keys and values: Hugging Face's DeepSeek-V2 with copied weights, the dot product of products, counts."""

import pytest
import torch
from torch.testing import assert_close
from transformers.models.deepseek_v2.configuration_deepseek_v2 import DeepseekV2Config
from transformers.models.deepseek_v2.modeling_deepseek_v2 import DeepseekV2Attention

from leanformer import LeanformerConfig, LeanformerForMaskedLM
from leanformer.attention import MultiHeadAttention, Positions, Rotary, mechanism
from leanformer.attention.mechanisms.latent import latent_size
from leanformer.models.cost import ledger
from leanformer.models.initialisation import initialise

B, L, M, H, K, D = 2, 7, 5, 3, 8, 24


def tiny(name, **settings):
    sizes = {"hidden_size": D, "num_attention_heads": H, "num_hidden_layers": 2, "intermediate_size": 37}
    return LeanformerConfig(**sizes | {"vocab_size": 101, "attention": name} | settings)


def layer(name="latent", **options):
    torch.manual_seed(1)
    made = MultiHeadAttention(name, D, H, 32, **options).double().eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_(std=0.4)
    return made


def test_it_is_deepseeks_attention_with_copied_weights():
    """Their pairs of a rotation are neighbours, ours the halves; their rotation is computed in float32."""
    rank, rotated, base = 10, 4, 7.0
    config = DeepseekV2Config(
        hidden_size=D,
        num_attention_heads=H,
        num_key_value_heads=H,
        kv_lora_rank=rank,
        q_lora_rank=None,
        qk_nope_head_dim=K,
        qk_rope_head_dim=rotated,
        v_head_dim=K,
        attention_dropout=0.0,
        attn_implementation="eager",
    )
    theirs, ours = DeepseekV2Attention(config, 0).eval(), layer(rank=rank, rotary_size=rotated, bias=False)
    ours = ours.float()
    halves = [*range(0, rotated, 2), *range(1, rotated, 2)]
    parts = theirs.q_proj.weight.data.view(H, K + rotated, D).split((K, rotated), 1)
    down, rotary = theirs.kv_a_proj_with_mqa.weight.data.split((rank, rotated))
    up = theirs.kv_b_proj.weight.data.view(H, 2 * K, rank).split(K, 1)
    gains = torch.rand(rank) + 0.5
    theirs.kv_a_layernorm.weight.data.copy_(gains)
    state = {
        "query.weight": parts[0].flatten(0, 1),
        "rotary_query.weight": parts[1][:, halves].flatten(0, 1),
        "latent.weight": down,
        "rotary_key.weight": rotary[halves],
        "key.weight": up[0].flatten(0, 1),
        "value.weight": up[1].flatten(0, 1),
        "latent_norm.weight": gains,
    }
    ours.projection.load_state_dict(state)
    ours.output.weight.data.copy_(theirs.o_proj.weight.data)
    x, mask = torch.randn(B, L, D), torch.ones(L, L).tril().bool()
    angle = torch.arange(L)[:, None] * base ** (-torch.arange(rotated // 2) / (rotated // 2))
    additive = torch.zeros(B, 1, L, L).masked_fill(~mask, float("-inf"))
    expected, _ = theirs(x, additive, position_embeddings=torch.polar(torch.ones_like(angle), angle)[None])
    places = Positions.counted(L, L, x.device, Rotary(K, base))  # a model's rotation is that of whole heads
    assert_close(ours(x, positions=places, causal=True), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("rotary", [False, True])
@pytest.mark.parametrize("rank", [2, 5, D])
def test_it_is_the_dot_product_with_products_of_maps(rank, rotary):
    """W_k = U W_c and W_v = V W_c; of rank D with W_c = I, it is any dot product."""
    own, other = layer(rank=rank, latent_norm=False), layer("dot_product")
    maps = own.projection
    with torch.no_grad():
        if rank == D:
            maps.latent.weight.copy_(torch.eye(D))
        for part in ("key", "value"):
            getattr(other.projection, part).weight.copy_(getattr(maps, part).weight @ maps.latent.weight)
            getattr(other.projection, part).bias.zero_()
        other.projection.query.load_state_dict(maps.query.state_dict())
        other.output.load_state_dict(own.output.state_dict())
    x = torch.randn(B, L, D, dtype=torch.float64, requires_grad=True)
    positions = Positions.counted(L, L, x.device, Rotary(K)) if rotary else None
    one, same = (module(x, positions=positions, causal=True) for module in (own, other))
    assert_close(one, same, rtol=1e-12, atol=1e-12)
    gradients = [torch.autograd.grad(y.square().sum(), x)[0] for y in (one, same)]
    assert_close(*gradients, rtol=1e-10, atol=1e-10)
    memory = torch.randn(B, M, D, dtype=torch.float64)
    assert_close(own(x, memory), other(x, memory), rtol=1e-12, atol=1e-12)


def test_expanded_is_absorbed():
    """The form that a decoder may compute: queries meet latent vectors, and contexts are expanded."""
    own = layer(rank=5, rotary_size=4)
    x, maps = torch.randn(B, L, D, dtype=torch.float64), own.projection
    positions = Positions.counted(L, L, x.device, Rotary(K))
    with torch.no_grad():
        c = maps.latent_norm(maps.latent(x))
        U, V = (part.weight.view(H, K, -1) for part in (maps.key, maps.value))
        query = torch.einsum("blhk,hkr->bhlr", maps.query(x).unflatten(-1, (H, K)), U)
        turned = maps.rotary_query(x).unflatten(-1, (H, -1)).transpose(1, 2), maps.rotary_key(x)[:, None]
        turned = Positions.counted(L, L, x.device, Rotary(4)).rotate(*turned)
        scores = (query @ c[:, None].mT + turned[0] @ turned[1].mT) / (K + 4) ** 0.5
        context = torch.einsum("bhlm,bmr,hkr->blhk", scores.softmax(-1), c, V).flatten(-2)
        assert_close(own(x, positions=positions), own.output(context), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("options", "total"),
    [
        ({"rank": 128, "latent_norm": False}, 98_879_034),
        ({"rank": 128}, 98_879_034 + 12 * 128),
        ({"rank": 128, "latent_norm": False, "rotary_size": 32}, 102_712_890),
    ],
    ids=str,
)
def test_bert_base_has_the_closed_counts(options, total):
    config = LeanformerConfig(attention="latent", attention_options=options)
    with torch.device("meta"):
        assert LeanformerForMaskedLM(config).num_parameters() == total
    assert ledger(config, 512)["parameters"]["total"] == total


def test_products_of_a_token_in_bert_base():
    shape = LeanformerConfig().shape()
    scores = 4 * 768 * 512
    found = mechanism("latent").flops(shape, 512, rank=128)
    assert found == 512 * (1_769_472 + scores)


@pytest.mark.parametrize("norm", [True, False])
def test_keys_start_as_large_as_the_baselines_behind_a_norm(norm):
    sizes = []
    for name, options in (("dot_product", {}), ("latent", {"rank": 32, "latent_norm": norm})):
        model = LeanformerForMaskedLM(tiny(name, attention_options=options, hidden_size=384, num_hidden_layers=1))
        initialise(model, seed=1)
        projection = model.encoder.layers[0].attention.projection
        x = torch.nn.functional.layer_norm(torch.randn(2, 64, 384), (384,))
        sizes.append([float(part.detach().std()) for part in projection(x, x)[1:] + projection(x, x)[:1]])
    for base, own in zip(*sizes, strict=True):
        assert own > 0 and (not norm or own == pytest.approx(base, rel=0.1))


def test_wrong_options_are_named():
    shape = LeanformerConfig(hidden_size=24, num_attention_heads=3).shape()
    assert latent_size(shape, None) == 32
    for rank in (0, -1, True, 2.0):
        with pytest.raises(ValueError, match="rank = .* must be a positive whole number"):
            LeanformerConfig(attention="latent", attention_options={"rank": rank})
    for size in (3, 16, -2, True):
        with pytest.raises(ValueError, match="rotary_size = .* divisor of the head size 8: choose one of 0, 2, 4, 8"):
            mechanism("latent").check_options({"rotary_size": size}, shape)
    with pytest.raises(ValueError, match="latent: rotary_size = 4: this projection makes no such keys"):
        tiny("latent", attention_options={"rotary_size": 4, "projection": "separate"}, positions="rotary")
    with pytest.raises(ValueError, match="pairwise has no option 'rotary_size'"):
        mechanism("pairwise").check_options({"rotary_size": 4, "projection": "latent"}, shape)


def test_a_model_with_rotary_positions_decouples():
    """Of whole keys, or of a part: both see distances alone."""
    for options in ({}, {"rank": 5, "rotary_size": 2}):
        model = LeanformerForMaskedLM(tiny("latent", attention_options=options, positions="rotary")).double().eval()
        ids = torch.randint(1, 101, (2, 9))
        outputs = [model(ids, position_ids=torch.arange(9)[None] + shift).logits for shift in (0, 5)]
        assert_close(*outputs, rtol=1e-9, atol=1e-9)
        assert (model(ids, position_ids=torch.arange(9).flip(0)[None]).logits - outputs[0]).abs().max() > 1e-6
