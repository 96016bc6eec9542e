"""Matrix atoms: the maps of all layers are combinations of a few matrices (MASA, 2025, "Share Your Attention:
Transformer Weight Sharing via Matrix-based Dictionary Learning", arXiv:2508.04581).

    W_l = sum_s c_ls D_s        s = 1 ... S        a dictionary D for each of query, key and value, and of the output

Layers l store S coefficients per map and their own biases. Against L matrices of n numbers there are S n + L S, and a
forward pass makes each W_l by one product of 2 S n FLOPs for a whole batch. In the paper the coefficients come from a
small network, which is dropped after training; here they are parameters. S = L with c = I is a model without sharing.

At the start atoms are N(0, std^2) and coefficients N(0, 1/S), so that maps have the size of the baseline's.
"""

from collections.abc import Iterable
from math import sqrt
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from leanformer.attention import MultiHeadAttention, Projection
from leanformer.attention.shape import Shape


class Atoms(nn.Module):
    """The dictionary of one map, (S, out, in)."""

    def __init__(self, count: int, like: nn.Linear, std: float) -> None:
        super().__init__()
        self.std = std * getattr(like, "initial_scale", 1.0)
        self.size = (count, like.out_features, like.in_features)
        self.weight = nn.Parameter(torch.empty(self.size, device=like.weight.device))

    def initial_values(self) -> dict[str, Tensor]:
        return {"weight": torch.randn(self.size) * self.std}


class Combination(nn.Module):
    """A layer's map of atoms; the first layer's holds them, and others point to them."""

    bias: Tensor | None

    def __init__(self, atoms: Atoms, like: nn.Linear, first: bool) -> None:
        super().__init__()
        if first:
            self.atoms = atoms
        self._atoms = (atoms,)  # in a tuple, so that it is not registered, and saved, again
        self.coefficients = nn.Parameter(torch.empty(atoms.size[0], device=like.weight.device))
        self.register_parameter("bias", None if like.bias is None else nn.Parameter(torch.empty_like(like.bias)))

    def initial_values(self) -> dict[str, Tensor]:
        values = {"coefficients": torch.randn(len(self.coefficients)) / sqrt(len(self.coefficients))}
        return values if self.bias is None else values | {"bias": torch.zeros(len(self.bias))}

    @property
    def weight(self) -> Tensor:
        return torch.tensordot(self.coefficients, self._atoms[0].weight, 1)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)


def atomic_maps(projection: type[Projection], parts: Iterable[str]) -> list[str]:
    """Returns the names of the maps that play these parts, each once; "output" is the layer's."""
    names = {**projection.parts, "output": "output"}
    return list(dict.fromkeys(names[part] for part in parts if part in names))


def combine(layers: Iterable[Any], count: int, parts: Iterable[str], std: float) -> None:
    """Put combinations of this number of atoms in the place of the layers' maps."""
    shared: dict[str, Atoms] = {}
    for layer in layers:
        attention: MultiHeadAttention = layer.attention
        for name in atomic_maps(type(attention.projection), parts):
            place = attention if name == "output" else attention.projection
            like, first = getattr(place, name), name not in shared
            if first:
                shared[name] = Atoms(count, like, std)
            setattr(place, name, Combination(shared[name], like, first))


def map_sizes(projection: type[Projection], shape: Shape, kv_heads: int, parts: Iterable[str]) -> dict[str, int]:
    """Returns n, the numbers of each map's matrix, by name; `kv_heads` is that of keys and values."""
    queries = {projection.parts.get("query"), "output"}
    heads = {name: shape.num_heads if name in queries else kv_heads for name in atomic_maps(projection, parts)}
    return {name: count * shape.head_size * shape.hidden_size for name, count in heads.items()}


def combined(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Returns the tensors with a matrix in the place of each combination, under the name that it has unshared."""
    found = dict(tensors)
    for key in [key for key in tensors if key.startswith(prefix) and key.endswith(".coefficients")]:
        number, _, name = key.removeprefix(prefix).partition(".")
        atoms = f"{prefix}0.{name.removesuffix('.coefficients')}.atoms.weight"
        if atoms in tensors:
            matrix = torch.tensordot(found.pop(key).double(), tensors[atoms].double(), 1)
            found[f"{prefix}{number}.{name.removesuffix('coefficients')}weight"] = matrix.to(tensors[atoms].dtype)
    return {key: value for key, value in found.items() if not key.endswith(".atoms.weight")}


def nearest(matrices: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The coefficients (L, S) and atoms (S, out, in) whose combinations are nearest to these matrices (L, out, in).

    They are the leading eigenvectors of the layers' Gram matrix, and the matrices in their directions; scaled so that
    coefficients of a layer have length one on average.
    """
    flat = matrices.double().flatten(1)
    vectors = torch.linalg.eigh(flat @ flat.T)[1][:, -count:]
    scale = sqrt(len(flat) / count)
    return vectors * scale, ((vectors / scale).T @ flat).view(count, *matrices.shape[1:])
