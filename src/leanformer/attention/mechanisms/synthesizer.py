"""Synthesizer: attention without comparing tokens (Tay, Bahri, Metzler, Juan, Zhao and Zheng, 2020, "Synthesizer:
Rethinking Self-Attention for Transformer Models", ICML 2021).

Only the logits change; value and output projection stay. With N = `max_length`, for position i and memory position j:

    random              R_h[i, j]                                  H N^2        one table a head, learned
    fixed_random        R_h[i, j], frozen                          0
    factorized_random   R1_h[i] . R2_h[j]                          2 H N k      rank k
    dense               (relu(x_i W1_h + b1_h) W2_h + b2_h)[j]     D E + E N    own token only; W2 shared: D E + K N
    factorized_dense    A_h(x_i)[j div b] B_h(x_i)[j mod b]        D E + E (a + b),    a b >= N

where A_h and B_h map the hidden layer relu(x_i W1_h) to a and b numbers. Weights without biases; those of the tables
start from N(0, `init_std`^2), of the factors so that their product does, of second layers from N(0, 1/K).

Nothing is divided by sqrt(K): no product of K terms grows here. A shorter sequence uses the upper left of a table,
which is masked, and the softmax normalises over what is visible. Rows and columns are positions: no cross-attention.
The text of the paper leaves the order of the factorised dense logits open. Repeating both factors in the same order
gives lcm(a, b) different logits, 32 of 512 for 16 x 32; the order above, a Kronecker product, gives all a b.
A fixed table of small scale is only the mean of the visible values, so `fixed_random` starts from unit scale.
"""

from math import isqrt, sqrt
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from leanformer.attention.attend import Path
from leanformer.attention.compatibility import Compatibility
from leanformer.attention.logits import Heads, Logits
from leanformer.attention.position_tables import FactorizedRandom, FixedRandom, Random
from leanformer.attention.positions import Positions
from leanformer.attention.projection import affine
from leanformer.attention.projections import ValueOnly
from leanformer.attention.registry import Mechanism, mechanism, register
from leanformer.attention.shape import Shape
from leanformer.spelling import suggest

SECOND_LAYERS = ("per_head", "shared")


class Hidden(Compatibility):
    """The first layer of the dense forms, relu(x W1 + b1) (B, H, L, K); with `tie_query` the relu of the query.

    `biases` (of both layers) are the layer's own choice if None. The authors' code takes the query for W1.
    """

    compares = False
    any_queries = True
    zero_columns = slice(None)
    """Columns of the second layer without which scores are zero."""
    second: Tensor
    second_bias: Tensor

    def __init__(self, shape: Shape, tie_query: bool, biases: bool | None) -> None:
        super().__init__(shape)
        self.tie_query, self.biases = tie_query, _biases(shape, biases)
        self.first = None if tie_query else nn.Linear(shape.hidden_size, shape.inner_size, bias=self.biases)

    def hidden(self, heads: Heads, x: Tensor) -> Tensor:
        if self.first is not None:
            return F.relu(self.first(x)).unflatten(-1, (self.shape.num_heads, -1)).transpose(1, 2)
        if heads.query is None:
            raise ValueError("tie_query takes the projection's query and value_only makes none: add a part that does")
        return F.relu(heads.query)

    def zero_init(self) -> None:
        """What would have no gradient then keeps one factor at random."""
        self.second[..., self.zero_columns] = 0
        if self.biases:
            self.second_bias[..., self.zero_columns] = 0

    def hidden_formula(self, q: Tensor, x: Tensor, h: int) -> Tensor:
        """(K,)"""
        if self.first is None:
            return q.clamp(min=0)
        size = self.shape.head_size
        return affine(self.first, x)[h * size : (h + 1) * size].clamp(min=0)

    @staticmethod
    def first_params(shape: Shape, tie_query: bool = False, biases: bool | None = None, **_: Any) -> int:
        return 0 if tie_query else shape.inner_size * (shape.hidden_size + _biases(shape, biases))

    @staticmethod
    def first_flops(shape: Shape, length: int, tie_query: bool = False, **_: Any) -> int:
        return 0 if tie_query else shape.linear_flops(length)


class Dense(Hidden):
    """logit_h(i, j) = (relu(x_i W1_h + b1_h) W2_h + b2_h)[j];  D E + E N weights, 2 L E (D + M) FLOPs.

    The second layer (H or 1, K, N) is `per_head` or `shared` by the heads, as in the authors' code.
    """

    def __init__(
        self, shape: Shape, second_layer: str = "per_head", tie_query: bool = False, biases: bool | None = None
    ) -> None:
        super().__init__(shape, tie_query, biases)
        if second_layer not in SECOND_LAYERS:
            raise ValueError(f"second_layer = {second_layer!r}; {suggest(second_layer, SECOND_LAYERS)}")
        self.tables = shape.num_heads if second_layer == "per_head" else 1
        self.make_parameters()

    def initial_values(self) -> dict[str, Tensor]:
        size, length = self.shape.head_size, self.shape.max_length
        second = {"second": torch.randn(self.tables, size, length) / sqrt(size)}
        return second | ({"second_bias": torch.zeros(self.tables, 1, self.shape.max_length)} if self.biases else {})

    def forward(self, heads: Heads, x: Tensor, memory: Tensor, positions: Positions) -> Logits:
        # Columns are cut before the product, not after it: a short sequence pays for its own length only.
        bias = self.hidden(heads, x) @ positions.columns(self.second)
        if self.biases:
            bias = bias + positions.columns(self.second_bias).to(bias.dtype)
        return Logits(bias=bias)

    def formula(self, q: Tensor, k: Tensor, x: Tensor, y: Tensor, h: int, i: int, j: int) -> Tensor:
        table = h if self.tables > 1 else 0
        logit = (self.hidden_formula(q, x, h) * self.second[table, :, j]).sum()
        return logit + self.second_bias[table, 0, j] if self.biases else logit

    @staticmethod
    def num_params(shape: Shape, second_layer: str = "per_head", biases: bool | None = None, **rest: Any) -> int:
        tables = shape.num_heads if second_layer == "per_head" else 1
        second = tables * (shape.head_size + _biases(shape, biases)) * shape.max_length
        return Hidden.first_params(shape, biases=biases, **rest) + second

    @staticmethod
    def flops(shape: Shape, length: int, memory: int | None = None, **options: Any) -> int:
        return Hidden.first_flops(shape, length, **options) + 2 * length * shape.inner_size * (memory or length)

    @staticmethod
    def kept(
        shape: Shape, length: int, path: Path, second_layer: str = "per_head", tie_query: bool = False, **_: Any
    ) -> int | None:
        return None if tie_query else (3 if second_layer == "per_head" else 2) * length * shape.inner_size


class FactorizedDense(Hidden):
    """logit_h(i, j) = A_i[j div b] B_i[j mod b],  A = relu(x W1_h) W_A,h + b_A,  B = relu(x W1_h) W_B,h + b_B.

    D E + E (a + b) weights, 2 L E (D + a + b) FLOPs. By default a is the largest power of two up to sqrt(N), and
    b = ceil(N / a): 16 x 32 for 512.
    """

    def __init__(
        self,
        shape: Shape,
        a: int | None = None,
        b: int | None = None,
        tie_query: bool = False,
        biases: bool | None = None,
    ) -> None:
        super().__init__(shape, tie_query, biases)
        self.a, self.b = _factors(shape, a, b)
        self.zero_columns = slice(self.a, None)
        self.make_parameters()

    def initial_values(self) -> dict[str, Tensor]:
        heads, size, total = self.shape.num_heads, self.shape.head_size, self.a + self.b
        second = {"second": torch.randn(heads, size, total) / sqrt(size)}
        return second | ({"second_bias": torch.zeros(heads, 1, total)} if self.biases else {})

    def forward(self, heads: Heads, x: Tensor, memory: Tensor, positions: Positions) -> Logits:
        factors = self.hidden(heads, x) @ self.second
        if self.biases:
            factors = factors + self.second_bias.to(factors.dtype)
        outer, inner = factors.split((self.a, self.b), dim=-1)
        logits_BHLN = (outer[..., :, None] * inner[..., None, :]).flatten(-2)[..., : self.shape.max_length]
        return Logits(bias=positions.columns(logits_BHLN))

    def formula(self, q: Tensor, k: Tensor, x: Tensor, y: Tensor, h: int, i: int, j: int) -> Tensor:
        hidden = self.hidden_formula(q, x, h)

        def factor(column: int) -> Tensor:
            value = (hidden * self.second[h, :, column]).sum()
            return value + self.second_bias[h, 0, column] if self.biases else value

        return factor(j // self.b) * factor(self.a + j % self.b)

    @staticmethod
    def num_params(
        shape: Shape, a: int | None = None, b: int | None = None, biases: bool | None = None, **rest: Any
    ) -> int:
        second = shape.num_heads * (shape.head_size + _biases(shape, biases)) * sum(_factors(shape, a, b))
        return Hidden.first_params(shape, biases=biases, **rest) + second

    @staticmethod
    def flops(
        shape: Shape, length: int, memory: int | None = None, a: int | None = None, b: int | None = None, **rest: Any
    ) -> int:
        second = 2 * length * shape.inner_size * sum(_factors(shape, a, b))
        return Hidden.first_flops(shape, length, **rest) + second

    @staticmethod
    def kept(
        shape: Shape,
        length: int,
        path: Path,
        a: int | None = None,
        b: int | None = None,
        tie_query: bool = False,
        **_: Any,
    ) -> int | None:
        """The hidden layer twice, the factors, and the second layer, which the product repeats for every example."""
        factors = sum(_factors(shape, a, b)) * (length * shape.num_heads + shape.inner_size)
        return None if tie_query else 2 * length * shape.inner_size + factors


def _biases(shape: Shape, biases: bool | None) -> bool:
    return shape.bias if biases is None else biases


def _factors(shape: Shape, a: int | None, b: int | None) -> tuple[int, int]:
    length = shape.max_length
    if a is None:
        a = 1 << (isqrt(length).bit_length() - 1) if b is None else -(-length // max(1, b))
    if b is None:
        b = -(-length // max(1, a))
    if a < 1 or b < 1 or a * b < length:
        raise ValueError(f"a x b = {a} x {b} must be positive and cover max_length = {length}: raise one, or leave out")
    return a, b


PAPER = "Tay et al. 2020"
register(Mechanism("random", ValueOnly, Random, PAPER, cross=False))
register(Mechanism("fixed_random", ValueOnly, FixedRandom, PAPER, cross=False))
register(Mechanism("factorized_random", ValueOnly, FactorizedRandom, PAPER, cross=False))
register(Mechanism("dense", ValueOnly, Dense, PAPER, cross=False))
register(Mechanism("factorized_dense", ValueOnly, FactorizedDense, PAPER, cross=False))

for _name in ("random+dense", "random+dot_product", "dense+dot_product"):
    register(mechanism(_name))
for _name in ("random+symmetric", "random+pairwise", "random+shared"):  # unpublished
    register(mechanism(_name))
