"""The sizes a mechanism is built from."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Shape:
    """D = `hidden_size`, E = H K = `inner_size`: H = `num_heads` heads of K = `head_size` each, K = D / H if not given;
    at most `max_length` positions. Maps have a `bias`; with `qk_norm` queries and keys are normed head by head."""

    hidden_size: int
    num_heads: int
    max_length: int
    bias: bool = True
    head_size: int = 0
    qk_norm: bool = False

    def __post_init__(self) -> None:
        for name in ("hidden_size", "num_heads", "max_length"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)} must be positive")
        if self.head_size < 0:
            raise ValueError(f"head_size = {self.head_size} must be positive")
        if not self.head_size and self.hidden_size % self.num_heads:
            raise ValueError(
                f"hidden_size = {self.hidden_size} is not divisible by num_heads = {self.num_heads}: give a head_size, "
                f"or the nearest width that is, {max(1, round(self.hidden_size / self.num_heads)) * self.num_heads}"
            )
        object.__setattr__(self, "head_size", self.head_size or self.hidden_size // self.num_heads)

    @property
    def inner_size(self) -> int:
        return self.num_heads * self.head_size

    @property
    def linear_params(self) -> int:
        """Weights of one projection, D x E."""
        return self.inner_size * (self.hidden_size + self.bias)

    @property
    def output_params(self) -> int:
        """Weights of the output projection, E x D."""
        return self.hidden_size * (self.inner_size + self.bias)

    @property
    def norm_params(self) -> int:
        """Gains of the norm of all queries, or of all keys."""
        return self.head_size * self.qk_norm

    def linear_flops(self, tokens: int) -> int:
        """FLOPs of one projection of `tokens` vectors, in or out; a multiply-add counts two, a bias nothing."""
        return 2 * tokens * self.hidden_size * self.inner_size
