"""The sizes a mechanism is built from."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Shape:
    """D = `hidden_size` = H K: `num_heads` heads of `head_size` each; at most `max_length` positions."""

    hidden_size: int
    num_heads: int
    max_length: int
    bias: bool = True

    def __post_init__(self) -> None:
        for name in ("hidden_size", "num_heads", "max_length"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)} must be positive")
        if self.hidden_size % self.num_heads:
            raise ValueError(
                f"hidden_size = {self.hidden_size} is not divisible by num_heads = {self.num_heads}: "
                f"the nearest width that is, is {max(1, round(self.hidden_size / self.num_heads)) * self.num_heads}"
            )

    @property
    def head_size(self) -> int:
        return self.hidden_size // self.num_heads

    @property
    def linear_params(self) -> int:
        """Weights of one D x D projection."""
        return self.hidden_size * (self.hidden_size + self.bias)

    def linear_flops(self, tokens: int) -> int:
        """FLOPs of one D x D projection of `tokens` vectors; a multiply-add counts two, a bias nothing."""
        return 2 * tokens * self.hidden_size**2
