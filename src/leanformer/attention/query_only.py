"""The projection of a layer that makes queries alone, and attends to keys and values that an earlier layer made."""

from typing import Any, Self

from torch import Tensor, nn

from leanformer.attention.logits import Heads
from leanformer.attention.projection import Projection
from leanformer.attention.shape import Shape


class QueryOnly(Projection):
    """q = x W_q:  D E + b E parameters and n K gains, 2 L D E FLOPs, whatever it was part of.

    The layer's `cache` gives it keys and values; what stands in their place here is empty.
    """

    parts = {"query": "query"}

    def __init__(self, shape: Shape, query: nn.Module, query_norm: nn.Module) -> None:
        super().__init__(shape)
        self.query, self.query_norm = query, query_norm

    @classmethod
    def of(cls, whole: Any, maker: Projection) -> Self:
        """Returns the query's part of a projection, with its modules; it reads the keys that `maker` makes."""
        made = cls(whole.shape, getattr(whole, whole.parts["query"]), whole.query_norm)
        vars(made)["maker"] = maker  # not registered: the maker's own layer has it
        return made

    def expand(self, heads: Heads) -> Heads:
        """What is handed on is as compact as the maker's cache, so the maker expands it."""
        maker: Projection = vars(self)["maker"]
        return maker.expand(heads)

    @staticmethod
    def suits(projection: type[Projection]) -> bool:
        """Whether the query's map is a linear map of its own."""
        maps = [projection.parts.get(part) for part in ("query", "key", "value")]
        return None not in maps and maps[0] not in maps[1:]

    def forward(self, x: Tensor, memory: Tensor) -> Heads:
        query = self.query_norm(self.split(self.query(x)))
        return Heads(value=query[..., :0], query=query)

    def formula(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor | None, Tensor]:
        raise NotImplementedError("keys and values are those of another layer")

    @staticmethod
    def num_params(shape: Shape, **_: Any) -> int:
        return shape.linear_params + shape.norm_params

    @staticmethod
    def flops(shape: Shape, length: int, memory: int | None = None, **_: Any) -> int:
        return shape.linear_flops(length)
