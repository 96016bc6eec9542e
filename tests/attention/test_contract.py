"""Every registered mechanism, every cell of the grid and every option keeps the contract."""

import pytest
import torch

from leanformer.attention import (
    PROJECTIONS,
    Compatibility,
    Heads,
    Logits,
    Mechanism,
    MultiHeadAttention,
    Projection,
    mechanism,
    names,
    register,
)
from leanformer.attention.mechanisms.dot_product import DotProduct
from leanformer.attention.projection import affine
from leanformer.attention.projections import Separate
from leanformer.attention.testing import CHECKS, check_every_parameter_learns, check_mechanism
from leanformer.models import LeanformerConfig

ROWS = [(name, {}) for name in names()]
GRID = [
    (name, {"projection": projection})
    for name in ("dot_product", "pairwise", "phased")
    for projection in PROJECTIONS
    if projection not in (mechanism(name).options()["projection"], "value_only")
]
OPTIONS = [
    ("fixed_random", {"init_std": 3.0}),
    ("factorized_random", {"rank": 3}),
    ("dense", {"second_layer": "shared"}),
    ("dense", {"biases": False}),
    ("dense+dot_product", {"tie_query": True}),
    ("dense+pairwise", {"tie_query": True, "second_layer": "shared", "weights": "softmax"}),
    ("factorized_dense", {"a": 2, "b": 7}),
    ("factorized_dense+symmetric", {"tie_query": True, "biases": False}),
    ("random+dot_product", {"weights": "sigmoid"}),
    ("random+dot_product", {"weights": "sigmoid", "per_head": True}),
    ("random+dense", {"weights": "softmax"}),
    ("random+dense+dot_product", {"weights": "softmax", "per_head": True}),
    ("dot_product+pairwise", {"projection": "shared_query_key"}),
    ("random+factorized_random", {"rank": 3, "init_std": 0.5}),
    ("pairwise", {"coefficients_init": "scaled_normal"}),
    ("pairwise", {"coefficients_init": "identity"}),
    ("shared", {"scale_init": "normal"}),
    ("phased", {"phase_std": 0.5}),
    ("phased", {"phases": False}),
    ("phased", {"gains": False}),
    ("dot_product", {"key_init": "query", "logits_init": "unscaled"}),
    ("symmetric", {"scaled": False}),
    ("phased", {"qk_norm": True, "bias": False}),
    ("random+phased", {"weights": "softmax"}),
    *((name, {"projection": "separate", "kv_heads": 1}) for name in ("dot_product", "pairwise", "phased")),
    ("dot_product", {"projection": "shared_key_value", "kv_heads": 1}),
    ("dot_product", {"projection": "shared_key_value", "kv_heads": 1, "qk_norm": True, "bias": False}),
    ("random+dot_product", {"kv_heads": 1}),
    *((name, {"qk_norm": True, "bias": False}) for name in ("dot_product", "symmetric", "pairwise", "shared")),
    ("pairwise", {"qk_norm": True, "projection": "shared_key_value"}),
    ("dot_product", {"qk_norm": True, "projection": "shared_query_value"}),
    ("dense+pairwise", {"qk_norm": True, "tie_query": True, "weights": "softmax"}),
    *((name, {"bias": False}) for name in ("dense", "factorized_dense", "random+dot_product")),
    ("latent", {"rank": 5, "latent_norm": False}),
    ("latent", {"rank": 5, "rotary_size": 2}),
    ("latent", {"rank": 5, "rotary_size": 22, "qk_norm": True, "bias": False}),
    ("random+latent", {"rank": 3, "rotary_size": 2, "weights": "softmax"}),
    ("pairwise", {"projection": "value_from_key", "qk_norm": True, "bias": False}),
    ("position_2d", {"per_head": True, "channels": 8}),
    ("symmetric+position_2d", {}),
    ("shared+position_2d", {"weights": "softmax"}),
]


def row_id(row):
    return "-".join([row[0], *map(str, row[1].values())])


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
@pytest.mark.parametrize("row", ROWS + GRID, ids=row_id)
def test_contract(row, check):
    check(*row)


@pytest.mark.parametrize("row", OPTIONS, ids=row_id)
def test_contract_holds_with_options(row):
    check_mechanism(row[0], **row[1])


class Transposed(DotProduct):
    def forward(self, heads, x, memory, positions):
        logits = super().forward(heads, x, memory, positions)
        return logits._replace(query=logits.query.flip(2))


class Unscaled(DotProduct):
    def forward(self, heads, x, memory, positions):
        return super().forward(heads, x, memory, positions).scale(1.01)


class Detached(DotProduct):
    """The right values with the wrong gradient."""

    def forward(self, heads, x, memory, positions):
        return super().forward(heads._replace(key=heads.key.detach()), x, memory, positions)


class Leaky(Separate):
    """Sees its neighbour: one step of padding or of the future."""

    def forward(self, x, memory):
        return super().forward(x, memory + 1e-3 * memory.roll(-1, dims=1))


class Miscounted(DotProduct):
    @staticmethod
    def num_params(shape):
        return 1


@pytest.mark.parametrize(
    ("projection", "compatibility", "promise"),
    [
        (Separate, Transposed, "values_and_gradients"),
        (Separate, Unscaled, "values_and_gradients"),
        (Separate, Detached, "gradient of"),
        (Separate, Miscounted, "counts"),
        (Leaky, DotProduct, "values_and_gradients"),
    ],
)
def test_contract_catches_a_broken_mechanism(projection, compatibility, promise, own_registry):
    register(Mechanism("broken", projection, compatibility, "nobody"))
    with pytest.raises(AssertionError, match=promise):
        check_mechanism("broken")


class LowRank(Projection):
    """Queries and keys of R numbers a head, whatever the size of the values."""

    def __init__(self, shape, rank=6):
        super().__init__(shape)
        self.query, self.key = (torch.nn.Linear(shape.hidden_size, shape.num_heads * rank) for _ in range(2))
        self.value = self.linear()

    def forward(self, x, memory):
        pairs = ((self.value, memory), (self.query, x), (self.key, memory))
        return Heads(*(f(y).unflatten(-1, (self.shape.num_heads, -1)).transpose(1, 2) for f, y in pairs))

    def formula(self, x, y):
        return affine(self.query, x), affine(self.key, y), affine(self.value, y)

    @staticmethod
    def num_params(shape, rank=6):
        return shape.linear_params + 2 * shape.num_heads * rank * (shape.hidden_size + 1)

    @staticmethod
    def flops(shape, length, memory=None, rank=6):
        tokens = length + (memory or length)
        return shape.linear_flops(memory or length) + 2 * tokens * shape.hidden_size * shape.num_heads * rank


class Named(Separate):
    """Separate maps, whose key has its bias under another name."""

    def __init__(self, shape):
        super().__init__(shape)
        self.key = torch.nn.Linear(shape.hidden_size, shape.inner_size, bias=False)
        self.shift = torch.nn.Parameter(torch.randn(shape.inner_size)) if shape.bias else None

    def forward(self, x, memory):
        heads = super().forward(x, memory)
        return heads if self.shift is None else heads._replace(key=heads.key + self.split(self.shift[None, None]))

    def formula(self, x, y):
        query, key, value = super().formula(x, y)
        return query, key if self.shift is None else key + self.shift, value


class Idle(Named):
    """The same with a parameter that nothing uses."""

    def __init__(self, shape):
        super().__init__(shape)
        self.unused = torch.nn.Parameter(torch.ones(shape.inner_size))


class Position(DotProduct):
    """A dot product that depends on a common shift of the keys."""

    def forward(self, heads, x, memory, positions):
        return super().forward(heads._replace(key=heads.key.sin()), x, memory, positions)


def test_only_a_common_shift_of_the_keys_may_be_without_a_gradient(own_registry):
    """Whatever the parameter that shifts them is called, and only where the softmax cancels it."""
    for name, projection, compatibility in (
        ("named", Named, DotProduct),
        ("idle", Idle, DotProduct),
        ("sine", Named, Position),
    ):
        register(Mechanism(name, projection, compatibility, "nobody"))
    check_mechanism("named")
    check_every_parameter_learns("sine", {})
    with pytest.raises(AssertionError, match="projection.unused never learns"):
        check_every_parameter_learns("idle", {})


class Small(Compatibility):
    """logit_h(i, j) = q_i . k_j / R"""

    def __init__(self, shape, rank=6):
        super().__init__(shape)

    def forward(self, heads, x, memory, positions):
        query, key = positions.rotate(heads.query, heads.key)
        return Logits(query / heads.query.shape[-1], key)

    def formula(self, q, k, x, y, h, i, j):
        return (q * k).sum() / len(q)

    @staticmethod
    def num_params(shape, rank=6):
        return 0

    @staticmethod
    def flops(shape, length, memory=None, rank=6):
        return 2 * shape.num_heads * rank * length * (memory or length)


@pytest.mark.parametrize("rank", [6, 7, 23])
def test_vectors_of_any_size_may_be_compared(rank, own_registry):
    register(Mechanism("low_rank", LowRank, Small, "nobody"))
    check_mechanism("low_rank", rank=rank)


def test_a_model_refuses_vectors_that_rotary_positions_do_not_fit(own_registry):
    register(Mechanism("low_rank", LowRank, Small, "nobody"))
    LeanformerConfig(attention="low_rank")
    with pytest.raises(ValueError, match="low_rank: rotary positions rotate 64 numbers of a head, and 6 are compared"):
        LeanformerConfig(attention="low_rank", positions="rotary")


class Blind(DotProduct):
    """Forgets to rotate."""

    def forward(self, heads, x, memory, positions):
        return Logits(heads.query * self.scale, heads.key)


def test_scores_that_rotary_positions_do_not_move_are_refused(own_registry):
    register(Mechanism("blind", Separate, Blind, "nobody"))
    with pytest.raises(AssertionError, match="rotary positions have no effect"):
        check_mechanism("blind")
    LeanformerConfig(attention="blind")
    for key in ("attention", "decoder_attention"):
        with pytest.raises(ValueError, match="blind makes nothing of positions, .*or take learned"):
            LeanformerConfig(**{key: "blind"}, positions="rotary", is_encoder_decoder=True)


class Misstated(DotProduct):
    def bilinear_form(self):
        return 2 * super().bilinear_form()


def test_a_form_that_is_not_that_of_the_scores_is_noticed(own_registry):
    register(Mechanism("misstated", Separate, Misstated, "nobody"))
    with pytest.raises(AssertionError, match="check_bilinear_form_is_that_of_the_scores: logits is wrong"):
        check_mechanism("misstated")


def test_each_check_alone_notices_a_leak(own_registry):
    register(Mechanism("leaky", Leaky, DotProduct, "nobody"))
    caught = set()
    for check in CHECKS:
        try:
            check("leaky", {})
        except AssertionError:
            caught.add(check.__name__)
    assert {"check_padding_changes_nothing", "check_future_changes_nothing"} <= caught


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("dot_product", 1_771_776), ("symmetric", 1_181_184), ("pairwise", 1_230_336), ("shared", 592_896)],
)
def test_bert_base_counts_are_the_published_ones(name, parameters):
    with torch.device("meta"):
        module = MultiHeadAttention(name, 768, 12, 512)
    assert module.mechanism.num_params(module.shape) == parameters
    assert module.num_params() == parameters + 768 * 769
