"""Where queries, keys and values come from: one D x E matrix each, or fewer.

A projection maps x (B, L, D), which attends, and memory (B, M, D), which is attended, to heads (B, H, ., K).
In self-attention `memory is x`, and a tied projection is then computed once.

    name                  matrices   parameters (b = 1 with biases, n = 1 with `qk_norm`, else 0; E = H K, usually D)
    separate              q, k, v    D E + b E + 2 (D G K + b G K) + 2 n K
    shared_query_key      q = k, v   2 (D E + b E) + n K
    shared_key_value      q, k = v   D E + b E + D G K + b G K + 2 n K
    shared_query_value    q = v, k   2 (D E + b E) + 2 n K
    shared_all            q = k = v  1 (D E + b E) + 3 E + 2 n K
    value_only            v          1 (D E + b E)

G = `kv_heads` (`grouped_heads`), H if not given. With `qk_norm` queries and keys leave here normed (`head_norm`), and
values as they are; what is both query and key is normed once, with one gain, and so stays both.
Published mechanisms use separate, shared_query_key, shared_all and value_only; the rest completes the grid.
"""

from typing import Any, cast

import torch
from torch import Tensor, nn

from leanformer.attention.grouped_heads import GroupedHeads, kept_query, kv_shape
from leanformer.attention.head_norm import HeadNorm
from leanformer.attention.logits import Heads
from leanformer.attention.parameter_group import ParameterGroup
from leanformer.attention.projection import Projection, affine
from leanformer.attention.shape import Shape
from leanformer.spelling import suggest

KEY_INITS, LOGITS_INITS = ("own", "query"), ("scaled", "unscaled")


class Separate(GroupedHeads):
    """q = x W_q,  k = y W_k,  v = y W_v,  each plus its bias (Vaswani et al., 2017).

    Two options of how they start, controls for what tying and coefficients change besides. `key_init`: the key's matrix
    has values of its `own`, or the `query`'s, from which it then parts (Saponati et al., 2025, "The underlying
    structures of self-attention"). `logits_init`: with `unscaled`, W_q and W_k start K^(1/4) times as large, so that
    the logits do as if they were not divided by sqrt(K), or met N(0, 1) coefficients; `scaled` is as usual.
    """

    control = "nothing is tied: what does the compatibility do by itself?"
    parts = {"query": "query", "key": "key", "value": "value"}

    def __init__(
        self, shape: Shape, kv_heads: int | None = None, key_init: str = "own", logits_init: str = "scaled"
    ) -> None:
        super().__init__(shape, kv_heads)
        for name, value, known in (("key_init", key_init, KEY_INITS), ("logits_init", logits_init, LOGITS_INITS)):
            if value not in known:
                raise ValueError(f"{name} = {value!r}; {suggest(value, known)}")
        if logits_init == "unscaled" and shape.qk_norm:
            raise ValueError("logits_init = 'unscaled' has no effect on normed queries and keys: leave out one of them")
        if key_init == "query" and self.kv_shape != shape:
            raise ValueError(f"key_init = 'query' needs a key for each query head: leave out kv_heads = {kv_heads}")
        self.query, self.key, self.value = self.linear(), self.linear(self.kv_shape), self.linear(self.kv_shape)
        self.query_norm, self.key_norm = HeadNorm(shape), HeadNorm(shape)
        query, key = cast(Any, self.query), cast(Any, self.key)
        if key_init == "query":
            key.starts_as = "query"
        if logits_init == "unscaled":
            query.initial_scale = key.initial_scale = shape.head_size**0.25

    def forward(self, x: Tensor, memory: Tensor) -> Heads:
        if memory is x:
            query, key, value = self.heads(x, self.query, self.key, self.value)
        else:
            (query,), (key, value) = self.heads(x, self.query), self.heads(memory, self.key, self.value)
        return Heads(value, self.query_norm(query), self.key_norm(key))

    def formula(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        query, key = self.query_norm.formula(affine(self.query, x)), self.key_norm.formula(affine(self.key, y))
        return query, key, affine(self.value, y)

    @staticmethod
    def num_params(shape: Shape, kv_heads: int | None = None, **_: Any) -> int:
        return shape.linear_params + 2 * kv_shape(shape, kv_heads).linear_params + 2 * shape.norm_params

    @staticmethod
    def flops(shape: Shape, length: int, memory: int | None = None, kv_heads: int | None = None, **_: Any) -> int:
        return shape.linear_flops(length) + 2 * kv_shape(shape, kv_heads).linear_flops(memory or length)

    @staticmethod
    def kept(shape: Shape, length: int, fused: bool, kv_heads: int | None = None, **_: Any) -> int:
        return (kept_query(shape, kv_heads) + 2 * kv_shape(shape, kv_heads).inner_size) * length if fused else 0


class SharedQueryKey(Projection):
    """q = x W_t,  k = y W_t,  v = y W_v: one map makes a token comparable (Courtois et al., 2024)."""

    control = "query = key, value apart: what does tying the two that compare cost?"
    parts = {"query": "token", "key": "token", "value": "value"}
    parameter_groups = {"tied_projections": ParameterGroup(("token",))}

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self.token, self.value = self.linear(), self.linear()
        self.token_norm = HeadNorm(shape)

    def forward(self, x: Tensor, memory: Tensor) -> Heads:
        token, value = self.heads(memory, self.token, self.value)
        key = self.token_norm(token)
        query = key if memory is x else self.token_norm(self.split(self.token(x)))
        return Heads(value, query, key)

    def formula(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        query, key = (self.token_norm.formula(affine(self.token, side)) for side in (x, y))
        return query, key, affine(self.value, y)

    @staticmethod
    def num_params(shape: Shape) -> int:
        return 2 * shape.linear_params + shape.norm_params

    @staticmethod
    def flops(shape: Shape, length: int, memory: int | None = None) -> int:
        if memory is None:
            return 2 * shape.linear_flops(length)
        return shape.linear_flops(length) + 2 * shape.linear_flops(memory)

    @staticmethod
    def kept(shape: Shape, length: int, fused: bool, **_: Any) -> int:
        return 2 * length * shape.inner_size if fused else 0


class SharedKeyValue(GroupedHeads):
    """q = x W_q,  k = v = y W_kv: what is compared is what is fetched, and one tensor in a decoder's cache."""

    control = "key = value: as many parameters as query = key, and scores stay directed"
    parts = {"query": "query", "key": "key_value", "value": "key_value"}
    parameter_groups = {"tied_projections": ParameterGroup(("key_value",))}

    def __init__(self, shape: Shape, kv_heads: int | None = None) -> None:
        super().__init__(shape, kv_heads)
        self.query, self.key_value = self.linear(), self.linear(self.kv_shape)
        self.query_norm, self.key_norm = HeadNorm(shape), HeadNorm(shape)

    def forward(self, x: Tensor, memory: Tensor) -> Heads:
        return self.expand(self.compact(x, memory))

    def compact(self, x: Tensor, memory: Tensor) -> Heads:
        if memory is x:
            query, key_value = self.heads(x, self.query, self.key_value)
        else:
            query, key_value = self.split(self.query(x)), self.split(self.key_value(memory))
        return Heads(key_value, self.query_norm(query), key_value)

    def expand(self, heads: Heads) -> Heads:
        return heads._replace(key=self.key_norm(heads.value))

    def formula(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        value = affine(self.key_value, y)
        return self.query_norm.formula(affine(self.query, x)), self.key_norm.formula(value), value

    @staticmethod
    def num_params(shape: Shape, kv_heads: int | None = None) -> int:
        return shape.linear_params + kv_shape(shape, kv_heads).linear_params + 2 * shape.norm_params

    @staticmethod
    def flops(shape: Shape, length: int, memory: int | None = None, kv_heads: int | None = None) -> int:
        return shape.linear_flops(length) + kv_shape(shape, kv_heads).linear_flops(memory or length)

    @staticmethod
    def kept(shape: Shape, length: int, fused: bool, kv_heads: int | None = None, **_: Any) -> int:
        return (kept_query(shape, kv_heads) + kv_shape(shape, kv_heads).inner_size) * length if fused else 0


class SharedQueryValue(Projection):
    """q = x W_qv,  k = y W_k,  v = y W_qv: a token is fetched as it asks."""

    control = "query = value: as many parameters as query = key, and scores stay directed"
    parts = {"query": "query_value", "key": "key", "value": "query_value"}
    parameter_groups = {"tied_projections": ParameterGroup(("query_value",))}

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self.query_value, self.key = self.linear(), self.linear()
        self.query_norm, self.key_norm = HeadNorm(shape), HeadNorm(shape)

    def forward(self, x: Tensor, memory: Tensor) -> Heads:
        value, key = self.heads(memory, self.query_value, self.key)
        query = value if memory is x else self.split(self.query_value(x))
        return Heads(value, self.query_norm(query), self.key_norm(key))

    def formula(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        query, key = self.query_norm.formula(affine(self.query_value, x)), self.key_norm.formula(affine(self.key, y))
        return query, key, affine(self.query_value, y)

    @staticmethod
    def num_params(shape: Shape) -> int:
        return 2 * shape.linear_params + 2 * shape.norm_params

    flops = staticmethod(SharedQueryKey.flops)
    kept = staticmethod(SharedQueryKey.kept)


class SharedAll(Projection):
    """q = s D_q,  k = t D_k,  v = t D_v  with  s = x W_s,  t = y W_s  and diagonal D (Kowsher et al., 2024).

    See `mechanisms/shared.py` for what the paper says and leaves open. `scale_init` starts the diagonals at `ones`, so
    that q = k = v, or at `normal`, N(0, 1), which gives every channel a sign of its own.
    """

    control = "shared with directed scores: is direction what it lacks?"
    parts = {"query": "shared", "key": "shared", "value": "shared"}
    parameter_groups = {"tied_projections": ParameterGroup(("shared",))}
    query_scale: nn.Parameter
    key_scale: nn.Parameter
    value_scale: nn.Parameter

    def __init__(self, shape: Shape, scale_init: str = "ones") -> None:
        super().__init__(shape)
        if scale_init not in ("ones", "normal"):
            raise ValueError(f"scale_init = {scale_init!r}: it is 'ones' or 'normal'")
        self.scale_init = scale_init
        self.shared = self.linear()
        self.query_norm, self.key_norm = HeadNorm(shape), HeadNorm(shape)
        for name, value in self.initial_values().items():
            self.register_parameter(name, nn.Parameter(value))

    def initial_values(self) -> dict[str, Tensor]:
        draw = torch.ones if self.scale_init == "ones" else torch.randn
        return {f"{part}_scale": draw(self.shape.inner_size) for part in ("query", "key", "value")}

    def forward(self, x: Tensor, memory: Tensor) -> Heads:
        return self.expand(self.compact(x, memory))

    def compact(self, x: Tensor, memory: Tensor) -> Heads:
        source = self.split(self.shared(x))
        target = source if memory is x else self.split(self.shared(memory))
        return Heads(target, self.query_norm(self._scaled(source, "query")), target)

    def expand(self, heads: Heads) -> Heads:
        key, value = (self._scaled(heads.value, part) for part in ("key", "value"))
        return heads._replace(value=value, key=self.key_norm(key))

    def _scaled(self, x_BHLK: Tensor, part: str) -> Tensor:
        # Under autocast the maps are bf16 and the scales float32: a product of the two would leave bf16.
        return x_BHLK * self.part_scale(part).to(x_BHLK.dtype).view(self.shape.num_heads, 1, -1)

    def part_scale(self, part: str) -> Tensor:
        return getattr(self, f"{part}_scale")

    def formula(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        s, t = affine(self.shared, x), affine(self.shared, y)
        query, key = self.query_norm.formula(s * self.query_scale), self.key_norm.formula(t * self.key_scale)
        return query, key, t * self.value_scale

    @staticmethod
    def num_params(shape: Shape, scale_init: str = "ones") -> int:
        return shape.linear_params + 3 * shape.inner_size + 2 * shape.norm_params

    @staticmethod
    def flops(shape: Shape, length: int, memory: int | None = None, scale_init: str = "ones") -> int:
        return shape.linear_flops(length) + (0 if memory is None else shape.linear_flops(memory))

    @staticmethod
    def kept(shape: Shape, length: int, fused: bool, **_: Any) -> int:
        return (3 if fused else 1) * length * shape.inner_size


class ValueOnly(Projection):
    """v = y W_v: for scores that compare nothing (Tay et al., 2020)."""

    compares = False
    parts = {"value": "value"}

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self.value = self.linear()

    def forward(self, x: Tensor, memory: Tensor) -> Heads:
        return Heads(value=self.split(self.value(memory)))

    def formula(self, x: Tensor, y: Tensor) -> tuple[None, None, Tensor]:
        return None, None, affine(self.value, y)

    @staticmethod
    def num_params(shape: Shape) -> int:
        return shape.linear_params

    @staticmethod
    def flops(shape: Shape, length: int, memory: int | None = None) -> int:
        return shape.linear_flops(memory or length)

    @staticmethod
    def kept(shape: Shape, length: int, fused: bool, **_: Any) -> int:
        return 0


PROJECTIONS: dict[str, type[Projection]] = {
    "separate": Separate,
    "shared_query_key": SharedQueryKey,
    "shared_key_value": SharedKeyValue,
    "shared_query_value": SharedQueryValue,
    "shared_all": SharedAll,
    "value_only": ValueOnly,
}
"""Names for the option `projection=` of every mechanism."""
