"""What a layer of attention computes, whatever its mechanism: a query, a key, a value and an output map for every head.

    logit_h(i, j) = (Q_h x_i + a_h) . (K_h x_j + b_h),    output_i = sum_h O_h sum_j w_h,ij (V_h x_j + c_h) + d

in float64, the scale 1/sqrt(K) and whatever the mechanism puts between query and key inside Q. With rotary positions
query and key are rotated before they meet; coefficients stand before the rotation, and phases commute with it. What a
sum adds to its one product, such as a table of positions, is no part of these maps.

Shape letters: D width, H heads, K head size, E = H K.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from leanformer.attention import MultiHeadAttention
from leanformer.attention.shape import Shape


class Affine(NamedTuple):
    """W x + b for one head."""

    weight: Tensor  # K D
    bias: Tensor  # K

    def mapped(self, matrix: Tensor) -> "Affine":
        """matrix (W x + b)"""
        return Affine(matrix @ self.weight, matrix @ self.bias)


class HeadMaps(NamedTuple):
    """One head's. Query and key are None where nothing is compared."""

    query: Affine | None
    key: Affine | None
    value: Affine
    output: Tensor  # D K


def head_maps(layer: MultiHeadAttention, compares: bool = True) -> list[HeadMaps]:
    """The maps of every head; without `compares` those of value and output alone.

    ValueError, by name, for a mechanism that is no product of two maps of the tokens.
    """
    shape = layer.shape
    value = part_maps(layer, "value")
    query, key = _compared(layer) if compares else ([None] * shape.num_heads, [None] * shape.num_heads)
    return [HeadMaps(*maps) for maps in zip(query, key, value, head_outputs(layer), strict=True)]


def head_outputs(layer: MultiHeadAttention) -> list[Tensor]:
    """(D, K) of every head."""
    shape = layer.shape
    return list(layer.output.weight.detach().double().view(shape.hidden_size, shape.num_heads, -1).unbind(1))


def _compared(layer: MultiHeadAttention) -> tuple[list[Affine], list[Affine]]:
    name, comparing = layer.mechanism.name, [part for part in layer.compatibility.summands() if part.compares]
    form_HCC = comparing[0].bilinear_form() if len(comparing) == 1 else None
    if layer.shape.qk_norm:
        raise ValueError(f"{name} with qk_norm divides by what it compares, which no product of maps can express")
    if form_HCC is None:
        raise ValueError(f"the scores of {name} are no product of a query and a key: nothing can be fitted to them")
    query, key = part_maps(layer, "query"), part_maps(layer, "key")
    return [each.mapped(form_CC.T) for each, form_CC in zip(query, form_HCC, strict=True)], key


def to_planes(rows: Tensor) -> Tensor:
    """(K, R) real -> (K / 2, R) complex: the pairs that rotary positions rotate."""
    return torch.complex(*rows.chunk(2))


def to_rows(planes: Tensor) -> Tensor:
    return torch.cat((planes.real, planes.imag))


def part_maps(layer: MultiHeadAttention, part: str) -> list[Affine]:
    """Returns the part's maps for H heads; a key or value that several heads read is repeated."""
    name = layer.projection.parts.get(part)
    if name is None:
        raise ValueError(f"the projection of {layer.mechanism.name} makes no {part} that could be converted")
    scale = layer.projection.part_scale(part)
    heads = split(getattr(layer.projection, name), layer.shape, None if scale is None else scale.detach().double())
    return [each for each in heads for _ in range(layer.shape.num_heads // len(heads))]


def split(linear: Any, shape: Shape, scale: Tensor | None = None) -> list[Affine]:
    """A map D -> E as heads, its outputs times `scale` (E,)."""
    weight = linear.weight.detach().double()
    bias = weight.new_zeros(len(weight)) if linear.bias is None else linear.bias.detach().double()
    if scale is not None:
        weight, bias = weight * scale[:, None], bias * scale
    return [Affine(*pair) for pair in zip(weight.split(shape.head_size), bias.split(shape.head_size), strict=True)]
