"""A sine per pair of positions: the published encoding, what softmax leaves of it, and where it starts from."""

import pytest
import torch
from torch.testing import assert_close

from leanformer.attention import MultiHeadAttention, Positions

HEADS, LENGTH, WIDTH = 3, 29, 30


def made(name="position_2d", **options):
    torch.manual_seed(1)
    layer = MultiHeadAttention(name, WIDTH, HEADS, LENGTH, **options).double().eval()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_(std=0.5)
    return layer


def encoding(channels, size):
    """Wang and Liu's, (size, size, channels): sines and cosines in turn, of the column and then of the row."""
    half = channels // 2
    pair = torch.empty(size, size, channels, dtype=torch.float64)
    for i in range(size):
        for j in range(size):
            for c in range(0, half, 2):
                for first, place in ((0, j), (half, i)):
                    angle = torch.tensor(place * 10_000.0 ** (-c / half), dtype=torch.float64)
                    pair[i, j, first + c], pair[i, j, first + c + 1] = angle.sin(), angle.cos()
    return pair


@pytest.mark.parametrize("per_head", [False, True])
def test_scores_are_the_published_encoding_mapped_to_one_number(per_head):
    """Up to the order of the channels: ours are all sines and then all cosines."""
    layer = made(channels=12, per_head=per_head)
    x = torch.randn(2, 7, WIDTH, dtype=torch.float64)
    scores = layer.compatibility(layer.projection(x, x), x, x, Positions.counted(7, 7, x.device)).dense()
    order = [0, 2, 4, 1, 3, 5, 6, 8, 10, 7, 9, 11]
    weight = layer.compatibility.weight.view(-1, 12)
    expected = torch.einsum("ijc,hc->hij", encoding(12, 7)[..., order], weight)[None]
    assert_close(scores, expected.expand_as(scores), rtol=1e-12, atol=1e-12)


def test_symmetric_scores_become_directed_and_those_of_zero_weights_stay():
    layer, plain = made("symmetric+position_2d"), made("symmetric")
    own = {name: value for name, value in layer.state_dict().items() if not name.startswith("compatibility")}
    plain.load_state_dict(own)
    x = torch.randn(2, 7, WIDTH, dtype=torch.float64)
    scores = layer.compatibility(layer.projection(x, x), x, x, Positions.counted(7, 7, x.device)).dense()
    assert (scores - scores.mT).abs().amax() > 0.1
    with torch.no_grad():
        layer.compatibility.position_2d.weight.zero_()
    assert_close(layer(x), plain(x), rtol=1e-12, atol=1e-12)


def test_the_half_of_the_query_has_no_effect_and_no_gradient():
    layer = made("symmetric+position_2d")
    x = torch.randn(2, 7, WIDTH, dtype=torch.float64)
    weight = layer.compatibility.position_2d.weight
    before = layer(x)
    (gradient,) = torch.autograd.grad(before.square().sum(), weight)
    key, query = gradient.chunk(2)
    assert query.abs().max() < 1e-12 * key.abs().max()
    with torch.no_grad():
        weight[32:] += 3.0
    assert_close(layer(x), before, rtol=1e-12, atol=1e-12)


def test_it_starts_where_trained_heads_look():
    """Weights that are a softmax of its own scores are found again."""
    layer, again = made(channels=8, per_head=True), made(channels=8, per_head=True)
    x = torch.zeros(1, 11, WIDTH, dtype=torch.float64)

    def weights(module):
        places = Positions.counted(11, 11, x.device)
        return module.compatibility(module.projection(x, x), x, x, places).dense()[0].softmax(-1)

    with torch.no_grad():
        layer.compatibility.weight.mul_(0.5)
        again.compatibility.init_from_attention(weights(layer))
    assert_close(weights(again), weights(layer), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("channels", [0, 6, -4])
def test_channels_are_in_fours(channels):
    with pytest.raises(ValueError, match=f"channels = {channels} must be a positive multiple of 4"):
        made(channels=channels)
