"""The bias per bucket of distance: buckets as published code counts them, and where a table starts from."""

import pytest
import torch
from torch.testing import assert_close
from transformers.models.mpnet.modeling_mpnet import MPNetEncoder
from transformers.models.t5.modeling_t5 import T5Attention

from leanformer.attention import MultiHeadAttention, Positions

HEADS, LENGTH = 3, 301


@pytest.fixture
def layer():
    torch.manual_seed(1)
    return MultiHeadAttention("dot_product+relative_bias", 30, HEADS, LENGTH).eval()


@pytest.mark.parametrize(("buckets", "longest"), [(32, 128), (12, 50), (64, 1000)])
def test_buckets_are_those_of_t5_and_mpnet(buckets, longest):
    bias = MultiHeadAttention("relative_bias", 30, HEADS, 7, num_buckets=buckets, max_distance=longest).compatibility
    distance = torch.arange(-1500, 1501)
    found = bias.bucket(distance)
    assert_close(found, MPNetEncoder.relative_position_bucket(distance, buckets, longest))
    theirs = T5Attention._relative_position_bucket(
        distance, bidirectional=True, num_buckets=buckets, max_distance=longest
    )
    assert_close(found, theirs)
    assert set(found.tolist()) == set(range(buckets)) - {buckets // 2}  # no token to the right is at distance 0


def test_scores_follow_positions_wherever_the_tokens_stand(layer):
    """Tokens in another order, with their positions, have the same outputs in that order."""
    x, order = torch.randn(2, 19, 30), torch.randperm(19)
    places = torch.randint(0, LENGTH, (2, 19))
    expected = layer(x, positions=Positions.of(places))
    assert_close(layer(x[:, order], positions=Positions.of(places[:, order])), expected[:, order])


def test_a_table_starts_from_the_mean_of_the_logarithms_of_its_bucket():
    bias = MultiHeadAttention("relative_bias", 30, HEADS, 23, num_buckets=8, max_distance=9).compatibility
    weights = torch.rand(HEADS, 11, 11, dtype=torch.float64).add(0.1)
    weights = weights / weights.sum(-1, keepdim=True)
    with torch.no_grad():
        bias.init_from_attention(weights)
    logs = weights.log() - weights.log().mean(-1, keepdim=True)
    left = torch.stack([logs[:, i, i - 1] for i in range(1, 11)]).mean(0)
    assert_close(bias.table[:, 1].double(), left)
    own = torch.stack([logs[:, i, i] for i in range(11)]).mean(0)
    assert_close(bias.table[:, 0].double(), own)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_buckets": 6}, "num_buckets = 6 must be a positive multiple of 4"),
        ({"num_buckets": 0}, "num_buckets = 0 must be a positive multiple of 4"),
        ({"max_distance": 8}, "max_distance = 8 must be more than num_buckets / 4 = 8"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        MultiHeadAttention("relative_bias", 30, HEADS, 7, **options)
