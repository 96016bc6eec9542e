"""Multi-query attention against torch's grouped kernel and Hugging Face's own layer, with copied weights."""

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close
from transformers.models.llama.configuration_llama import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaAttention

from leanformer.attention import Heads, MultiHeadAttention
from leanformer.attention.logits import repeated

B, L, H, K, D = 2, 7, 5, 4, 15


@pytest.fixture
def layer() -> MultiHeadAttention:
    torch.manual_seed(1)
    return MultiHeadAttention("multi_query", D, H, L, head_size=K).double()


def with_gradients(output, layer, x):
    leaves = [x, *layer.parameters()]
    return output, torch.autograd.grad(output.square().sum(), leaves, allow_unused=True)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("fused", [False, True])
def test_it_is_torchs_grouped_attention(layer, fused, causal):
    layer.fused = fused
    x = torch.randn(B, L, D, dtype=torch.float64, requires_grad=True)
    parts = layer.projection
    query = parts.query(x).view(B, L, H, K).transpose(1, 2)
    key, value = (each(x)[:, None] for each in (parts.key, parts.value))
    context = F.scaled_dot_product_attention(query, key, value, is_causal=causal, enable_gqa=True)
    expected = with_gradients(layer.output(context.transpose(1, 2).flatten(-2)), layer, x)
    assert_close(with_gradients(layer(x, causal=causal), layer, x), expected)


def test_it_is_hugging_faces_layer_with_one_key_head(layer):
    config = LlamaConfig(
        hidden_size=D,
        num_attention_heads=H,
        num_key_value_heads=1,
        head_dim=K,
        attention_bias=True,
        attn_implementation="sdpa",
    )
    theirs = LlamaAttention(config, layer_idx=0).double()
    own = layer.projection
    copied: list[tuple[nn.Module, nn.Module]] = [
        (theirs.q_proj, own.query),
        (theirs.k_proj, own.key),
        (theirs.v_proj, own.value),
        (theirs.o_proj, layer.output),
    ]
    for linear, source in copied:
        linear.load_state_dict(source.state_dict())
    x = torch.randn(B, L, D, dtype=torch.float64, requires_grad=True)
    unrotated = torch.ones(B, L, K, dtype=torch.float64), torch.zeros(B, L, K, dtype=torch.float64)
    past = torch.full((L, L), float("-inf"), dtype=torch.float64).triu(1)[None, None]
    expected = theirs(x, position_embeddings=unrotated, attention_mask=past)[0]
    actual = layer(x, causal=True)
    assert_close(actual, expected)
    gradients = [
        torch.autograd.grad(output.square().sum(), [x, *(module.weight for module in modules)])
        for output, modules in ((actual, [own for _, own in copied]), (expected, [their for their, _ in copied]))
    ]
    assert_close(*gradients)


def test_a_cache_holds_one_key_and_one_value_for_each_token(layer):
    kept = []

    def cache(heads: Heads) -> Heads:
        kept.append(heads)
        earlier = SimpleNamespace(key=[each.key for each in kept], value=[each.value for each in kept])
        return heads._replace(key=torch.cat(earlier.key, dim=2), value=torch.cat(earlier.value, dim=2))

    x = torch.randn(B, L, D, dtype=torch.float64)
    one_by_one = torch.cat([layer(x[:, i : i + 1], causal=True, cache=cache) for i in range(L)], dim=1)
    assert_close(one_by_one, layer(x, causal=True))
    assert all(heads.key.shape == heads.value.shape == (B, 1, 1, K) for heads in kept)


@pytest.mark.parametrize("groups", [1, 2, 3, 6])
def test_head_h_reads_key_head_h_g_over_h(groups):
    keys = torch.randn(B, groups, L, K)
    assert_close(repeated(keys, 6), torch.stack([keys[:, h * groups // 6] for h in range(6)], dim=1))
    assert (repeated(keys, 6) is keys) is (groups == 6)


def test_bert_base_counts_are_the_papers_closed_form():
    """D^2 + D + 2 K (D + 1)"""
    with torch.device("meta"):
        module = MultiHeadAttention("multi_query", 768, 12, 512)
    assert module.mechanism.num_params(module.shape) == 768 * 769 + 2 * 64 * 769 == 689_024
    assert module.num_params() == 689_024 + 768 * 769
