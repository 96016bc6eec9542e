"""No query map: equal to the dot product whose query map is the identity."""

import pytest
import torch
from torch.testing import assert_close

from leanformer import LeanformerConfig, LeanformerForMaskedLM
from leanformer.attention import MultiHeadAttention
from leanformer.models.cost import ledger


@pytest.mark.parametrize("cross", [False, True])
@pytest.mark.parametrize("qk_norm", [False, True])
def test_it_is_dot_product_whose_query_map_is_the_identity(cross, qk_norm):
    torch.manual_seed(1)
    own = MultiHeadAttention("dot_product", 15, 3, 11, qk_norm=qk_norm, projection="identity_query").double()
    other = MultiHeadAttention("dot_product", 15, 3, 11, qk_norm=qk_norm).double()
    identity = {"projection.query.weight": torch.eye(15), "projection.query.bias": torch.zeros(15)}
    other.load_state_dict(own.state_dict() | identity)
    x = torch.randn(2, 7, 15, dtype=torch.float64, requires_grad=True)
    memory = torch.randn(2, 5, 15, dtype=torch.float64) if cross else None
    mask = torch.rand(2, 1, 7, 5 if cross else 7) > 0.3
    one, same = (layer(x, memory, mask) for layer in (own, other))
    assert_close(one, same, rtol=1e-12, atol=1e-12)
    gradients = (torch.autograd.grad(y.square().sum(), x)[0] for y in (one, same))
    assert_close(*gradients, rtol=1e-12, atol=1e-12)


def test_bert_base_has_the_published_count():
    config = LeanformerConfig(attention_options={"projection": "identity_query"})
    with torch.device("meta"):
        model = LeanformerForMaskedLM(config)
    assert model.num_parameters() == ledger(config, 512)["parameters"]["total"] == 102_427_194


def test_heads_of_another_width_are_refused():
    with pytest.raises(ValueError, match="3 heads of 8 are not hidden_size = 15: leave out head_size"):
        MultiHeadAttention("dot_product", 15, 3, 11, head_size=8, projection="identity_query")
