"""The residual CNN: its size, its formula in float64, and that padding is nothing to it."""

import pytest
import torch
from torch import nn

from leanformer.linking import residual_cnn
from leanformer.linking.residual_cnn import ResidualCNN

WORDS, WIDTH = 23, 13


@pytest.fixture
def model() -> ResidualCNN:
    torch.manual_seed(5)
    return ResidualCNN(nn.Embedding(WORDS, WIDTH), WIDTH).eval()


def parameters(model: ResidualCNN) -> int:
    """Without the embeddings."""
    return sum(p.numel() for name, p in model.named_parameters() if not name.startswith("embeddings."))


def test_its_size_is_the_papers():
    assert parameters(ResidualCNN(nn.Embedding(WORDS, 768), 768)) == 1_740_072


@pytest.mark.parametrize("width", [13, 256])
def test_its_size_by_the_formula(width):
    d, c, h = residual_cnn.WIDTH, residual_cnn.FILTERS, residual_cnn.HIDDEN
    block = 9 * c * d + 3 * c + 3 * c * h + h + h * d + d
    assert parameters(ResidualCNN(nn.Embedding(WORDS, width), width)) == width * d + d + 4 * block


def test_it_is_the_formula_token_by_token(model):
    """Sums over the tokens that are there, in float64, without any convolution of torch's."""
    model.double()
    ids = torch.tensor([[3, 1, 4, 1, 5, 9, 2]])
    states = [model.enter(e) for e in model.embeddings(ids[0])]
    for block in model.blocks:
        seen = []
        for t in range(len(states)):
            filters = []
            for conv in block.convolutions:
                k = conv.kernel_size[0]
                places = [(j, t + j - k // 2) for j in range(k) if 0 <= t + j - k // 2 < len(states)]
                filters.append(conv.bias + sum(conv.weight[:, :, j] @ states[p] for j, p in places))
            seen.append(torch.cat(filters).relu())
        states = [state + block.down(block.up(s).relu()) for state, s in zip(states, seen, strict=True)]
    wanted = torch.stack(states).amax(0)
    torch.testing.assert_close(model(ids, torch.ones_like(ids))[0], (wanted / wanted.norm()).float())


def test_padding_never_changes_a_vector(model):
    model.double()
    ids = torch.tensor([[3, 1, 4, 1, 5]])
    alone = model(ids, torch.ones_like(ids))
    for padding in (0, 7):  # whatever the padding is
        padded = torch.full((2, 11), padding)
        padded[0, :5] = ids
        mask = torch.ones_like(padded)
        mask[0, 5:] = 0
        torch.testing.assert_close(model(padded, mask)[0], alone[0], rtol=0, atol=1e-7)


def test_vectors_have_unit_length(model):
    vectors = model(torch.tensor([[1, 2, 3], [4, 5, 0]]), torch.tensor([[1, 1, 1], [1, 1, 0]]))
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(2))
