"""Maps of one input, stacked to one product in training."""

import pytest
import torch
from torch import nn

from leanformer.attention import PROJECTIONS
from leanformer.attention.shape import Shape

TIED = [name for name in PROJECTIONS if name not in ("shared_all", "value_only", "multi_query", "latent")]
"""Those of several maps that are stacked; multi-query's are not, which keeps less for the backward pass."""
FEW, MANY = (2, 3, 12), (2, 7, 12)


def leaves(projection, x, memory):
    """Heads, and the gradients of a function of them."""
    heads = [part for part in projection(x, memory) if part is not None]
    loss = sum((part * torch.linspace(-1, 1, part.numel(), dtype=part.dtype).view(part.shape)).sum() for part in heads)
    return heads + list(torch.autograd.grad(loss, [x, *projection.parameters()]))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("cross", [True, False])
@pytest.mark.parametrize("name", TIED)
def test_a_stacked_product_is_that_of_each_map(name, cross, bias, monkeypatch):
    torch.manual_seed(1)
    projection = PROJECTIONS[name](Shape(12, 3, 16, bias)).double()
    x = torch.randn(*MANY, dtype=torch.float64, requires_grad=True)
    memory = torch.randn(*MANY, dtype=torch.float64) if cross else x
    stacked = leaves(projection, x, memory)
    stacks = "CatBackward0" in [node.name() for head in stacked[:2] for node in history(head)]
    one_map_a_side = ("shared_key_value", "value_from_key")
    assert stacks is not (cross and name in one_map_a_side), "there each side has one map"
    monkeypatch.setattr(projection, "heads", lambda x, *maps: [projection.split(each(x)) for each in maps])
    torch.testing.assert_close(stacked, leaves(projection, x, memory), rtol=1e-12, atol=1e-12)


def test_few_tokens_are_not_worth_stacking():
    projection = PROJECTIONS["separate"](Shape(12, 3, 16))
    x = torch.randn(*FEW, requires_grad=True)
    assert "CatBackward0" not in [node.name() for node in history(projection(x, x).query)]


def test_a_map_that_does_more_than_multiply_is_called():
    projection = PROJECTIONS["separate"](Shape(12, 3, 16))
    x = torch.randn(*MANY, requires_grad=True)
    before = projection(x, x).key.detach()
    hook = projection.key.register_forward_hook(lambda module, inputs, output: 2 * output)
    torch.testing.assert_close(projection(x, x).key, 2 * before)
    hook.remove()

    class Adapted(nn.Linear):
        def forward(self, x):
            return super().forward(x) + 1

    adapted = Adapted(12, 12)
    adapted.load_state_dict(projection.key.state_dict())
    projection.key = adapted
    torch.testing.assert_close(projection(x, x).key, before + 1)


def history(tensor):
    """Every node of the graph that made `tensor`."""
    seen, open_nodes = [], [tensor.grad_fn]
    while open_nodes:
        node = open_nodes.pop()
        if node is not None and node not in seen:
            seen.append(node)
            open_nodes += [parent for parent, _ in node.next_functions]
    return seen
