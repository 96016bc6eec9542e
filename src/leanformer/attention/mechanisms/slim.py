"""Values from keys, "slim attention" (Graef, 2025, "Slim attention: cut your context memory in half without loss",
arXiv:2503.05840): a decoder's cache holds keys alone.

    q = x W_q    k = y W_k    v = k W_kv + c        k of all heads in a row: W_kv is E x E, and mixes them

What separate maps compute is this, too, where the keys' map is square and invertible:

    v = y W_v + b_v = (k - b_k) W_k^-1 W_v + b_v,     W_kv = W_k^-1 W_v,     c = b_v - b_k W_kv

There are as many weights as before, and half the numbers in the cache: E per token and layer. `leanformer convert
--rewrite slim` makes it of a trained model (`conversion/rewriting`). Keys are cached before any norm and rotation.
"""

from typing import Any, cast

import torch
from torch import Tensor, nn

from leanformer.attention.head_norm import HeadNorm
from leanformer.attention.logits import Heads
from leanformer.attention.projection import Projection, affine
from leanformer.attention.projections import PROJECTIONS
from leanformer.attention.shape import Shape


class ValueFromKey(Projection):
    """2 (D E + b E) + E^2 + b E parameters and 2 n K gains; FLOPs of three maps of the same sizes.

    Drawn afresh W_kv is N(0, std^2) like every other map, so values start as what two such maps make.
    """

    control = "values are made of keys: does one more map lose what the cache saves?"
    parts = {"query": "query", "key": "key"}

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self.query, self.key = self.linear(), self.linear()
        self.value_of_key = nn.Linear(shape.inner_size, shape.inner_size, bias=shape.bias)
        self.query_norm, self.key_norm = HeadNorm(shape), HeadNorm(shape)

    @classmethod
    def shares(cls) -> bool:
        return True

    def forward(self, x: Tensor, memory: Tensor) -> Heads:
        return self.expand(self.compact(x, memory))

    def compact(self, x: Tensor, memory: Tensor) -> Heads:
        if memory is x:
            query, key = self.heads(x, self.query, self.key)
        else:
            query, key = self.split(self.query(x)), self.split(self.key(memory))
        return Heads(key, self.query_norm(query), key)

    def expand(self, heads: Heads) -> Heads:
        key = cast(Tensor, heads.key)
        value = self.split(self.value_of_key(key.transpose(1, 2).flatten(-2)))
        return heads._replace(value=value, key=self.key_norm(key))

    def formula(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        key = affine(self.key, y)
        query = self.query_norm.formula(affine(self.query, x))
        return query, self.key_norm.formula(key), affine(self.value_of_key, key)

    @torch.no_grad()
    def set_value(self, weight_ED: Tensor, bias_E: Tensor) -> None:
        """Make the values those of the map W_v with its bias b_v, by the formula above, in float64."""
        key = self.key.weight.double()
        made = torch.linalg.solve(key.T, weight_ED.double().T).T  # W_v' of torch's layout: rows are outputs
        shift = bias_E.double()
        if self.key.bias is not None:
            shift = shift - made @ self.key.bias.double()
        self.value_of_key.weight.copy_(made)
        if self.value_of_key.bias is not None:
            self.value_of_key.bias.copy_(shift)

    @staticmethod
    def num_params(shape: Shape) -> int:
        return 2 * shape.linear_params + 2 * shape.norm_params + shape.inner_size * (shape.inner_size + shape.bias)

    @staticmethod
    def flops(shape: Shape, length: int, memory: int | None = None) -> int:
        tokens = memory or length
        return shape.linear_flops(length) + shape.linear_flops(tokens) + 2 * tokens * shape.inner_size**2

    @staticmethod
    def kept(shape: Shape, length: int, fused: bool, **_: Any) -> int:
        """Queries and keys in a row, of which the values are made, and in a kernel the values."""
        return (3 if fused else 2) * length * shape.inner_size


PROJECTIONS["value_from_key"] = ValueFromKey
