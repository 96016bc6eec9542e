"""Heads that share their maps: each distinct block of a map is stored once, in a bank, and gathered where it is used.

    W = (bank[n_1]; bank[n_2]; ... bank[n_H])        the numbers of a layer's heads, `config.shared_heads["blocks"]`

The mathematics is that of layers with equal rows; N blocks are stored instead of L H. `tie` says of which maps: of
query and key, and the value's, and the output's (columns of W_o), with their biases; the output's bias is no head's.
Where a projection has one map for several parts there is one bank for them. What a mechanism has besides (coefficients,
diagonals, phases) stays each head's own.

Shape letters: D width, H heads, K head size, E = H K, N blocks.
"""

from collections.abc import Iterable
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from leanformer.attention import MultiHeadAttention, Projection, projection_name
from leanformer.attention.shape import Shape

TIES = {"qk": ("query", "key"), "qkv": ("query", "key", "value"), "qkvo": ("query", "key", "value", "output")}


def tied_maps(projection: type[Projection], tie: str) -> list[str]:
    """Returns the names of the maps, each once; ValueError where there is no query and key."""
    parts = {**projection.parts, "output": "output"}
    if missing := [part for part in TIES[tie] if part not in parts]:
        raise ValueError(f"heads of projection {projection_name(projection)!r} have no {missing[0]} to share")
    return list(dict.fromkeys(parts[part] for part in TIES[tie]))


def check_blocks(shared: dict[str, Any], layers: int, heads: int) -> None:
    """Raises ValueError unless `shared` is {"tie": one of TIES, "blocks": L lists of H numbers 0 ... N - 1}, where each
    of the N numbers occurs."""
    if set(shared) != {"tie", "blocks"} or shared["tie"] not in TIES:
        raise ValueError(f"shared_heads needs blocks and tie, one of {', '.join(TIES)}")
    rows = shared["blocks"]
    numbers = {number for row in rows for number in row}
    if len(rows) != layers or any(len(row) != heads for row in rows) or numbers != set(range(len(numbers))):
        raise ValueError(f"shared_heads.blocks must be {layers} lists of {heads} numbers from 0 on, none left out")


def stored(shared: dict[str, Any]) -> int:
    """Returns N, the number of blocks."""
    return 1 + max(number for row in shared["blocks"] for number in row)


def saved_params(shared: dict[str, Any], projection: type[Projection], shape: Shape, layers: int) -> tuple[int, int]:
    """Returns the parameters less than without sharing: of the projections, of the output maps."""
    absent, block = layers * shape.num_heads - stored(shared), shape.head_size * shape.hidden_size
    maps = tied_maps(projection, shared["tie"])
    inner = sum(name != "output" for name in maps)
    return absent * inner * (block + shape.bias * shape.head_size), absent * block * ("output" in maps)


class HeadBank(nn.Module):
    """Blocks (N, K, D) and biases (N, K); of output maps (N, D, K) and none."""

    def __init__(self, count: int, shape: Shape, std: float, output: bool = False) -> None:
        super().__init__()
        block = (shape.hidden_size, shape.head_size) if output else (shape.head_size, shape.hidden_size)
        self.size, self.std, self.biased = (count, *block), std, shape.bias and not output
        for name, value in self.initial_values().items():
            self.register_parameter(name, nn.Parameter(value))

    def initial_values(self) -> dict[str, Tensor]:
        weight = {"weight": torch.randn(self.size) * self.std}
        return weight | ({"bias": torch.zeros(self.size[:2])} if self.biased else {})


class Gathered(nn.Module):
    """A layer's map, made of blocks of a bank that another module holds."""

    def __init__(self, bank: HeadBank, blocks: list[int]) -> None:
        super().__init__()
        self.blocks = list(blocks)
        self._bank = (bank,)  # in a tuple, so that it is not registered, and saved, again

    @property
    def weight(self) -> Tensor:
        return torch.cat([cast(Tensor, self._bank[0].weight)[n] for n in self.blocks])

    @property
    def bias(self) -> Tensor | None:
        bank = self._bank[0]
        return torch.cat([cast(Tensor, bank.bias)[n] for n in self.blocks]) if bank.biased else None

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)


class GatheredOutput(nn.Module):
    """The same of an output map, whose blocks are columns, with a bias of its own."""

    def __init__(self, bank: HeadBank, blocks: list[int], shape: Shape) -> None:
        super().__init__()
        self.blocks, self._bank, self.width = list(blocks), (bank,), shape.hidden_size
        self.register_parameter("bias", nn.Parameter(torch.zeros(self.width)) if shape.bias else None)

    def initial_values(self) -> dict[str, Tensor]:
        return {} if self.bias is None else {"bias": torch.zeros(self.width)}

    @property
    def weight(self) -> Tensor:
        return torch.cat([cast(Tensor, self._bank[0].weight)[n] for n in self.blocks], dim=1)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, cast("Tensor | None", self.bias))


def gather(layers: Iterable[Any], shared: dict[str, Any], projection: type[Projection], std: float) -> nn.ModuleDict:
    """Put gathered maps into the layers' attention; returns the banks by the maps' names."""
    attentions: list[MultiHeadAttention] = [layer.attention for layer in layers]
    count, shape, banks = stored(shared), attentions[0].shape, nn.ModuleDict()
    for name in tied_maps(projection, shared["tie"]):
        bank = banks[name] = HeadBank(count, shape, std, output=name == "output")
        for attention, blocks in zip(attentions, shared["blocks"], strict=True):
            if name == "output":
                attention.output = cast(Any, GatheredOutput(bank, blocks, shape))
            else:
                setattr(attention.projection, name, Gathered(bank, blocks))
    return banks
