"""Grouped heads (`attention/grouped_heads`) out of heads with keys and values of their own: r = H / G heads per group.

Two starts are known. The mean of the group's keys and the mean of its values leave queries and output map as they were
(Ainslie et al., 2023). Where hidden states are known there is a better one, which lets queries and output map take up
what the group's key and value do not hold. With N_h, r_h of `fits` for each head h of the group, and O_h V_h what the
output map makes of its values, in the coordinates of a `MetricBasis`:

    key      minimises  sum_h |N_h - B_h' T|^2 + |r_h - T' t_h|^2     T spans the K leading eigenvectors of
                                                                      sum_h N_h' N_h + r_h r_h'
    value    minimises  sum_h |O_h V_h - O_h' U|^2                    U those of  sum_h (O_h V_h)' (O_h V_h)
    k = v    both       T = U spans those of the two sums, each divided by its energy

Both are minima, and errors of logits and of values count as they are: a head with large logits counts more. With rotary
positions each plane c of the key is fitted alone: b_c leads  sum_h |alpha_hc|^2 beta_hc beta_hc^H  (`rotary_fits`), and
what is key and value stays the key.

Shape letters: D width, K head size, R coordinates.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from leanformer.conversion.attention.fits import value_of
from leanformer.conversion.attention.layer_maps import Affine, HeadMaps, to_planes, to_rows
from leanformer.conversion.attention.metric import MetricBasis
from leanformer.conversion.attention.moments import Moments
from leanformer.conversion.attention.subspace import leading


class Fitted(NamedTuple):
    """A head as it is to be, and what is to be added to the output bias."""

    head: HeadMaps
    shift: Tensor  # D


def fit_groups(heads: list[HeadMaps], groups: int, moments: Moments, tied: bool) -> list[Fitted]:
    """The fit of all heads of a layer; `tied`: keys are the values."""
    size = len(heads) // groups
    basis = MetricBasis(torch.eye(len(moments.mean), dtype=torch.float64), moments.metric)
    fitted: list[Fitted] = []
    for first in range(0, len(heads), size):
        group = heads[first : first + size]
        if moments.bordered is None:
            queries, key, value = _unrotated(group, basis, moments.mean, tied)
        else:
            queries, key = _rotated(group, moments.bordered)
            value = key if tied else _value(group, basis, moments.mean)
        for head, query in zip(group, queries, strict=True):
            output, shift, _ = value_of(head, value, moments.mean, moments.metric)
            fitted.append(Fitted(HeadMaps(query, key, value, output), shift))
    return fitted


def _unrotated(
    group: list[HeadMaps], basis: MetricBasis, mean: Tensor, tied: bool
) -> tuple[list[Affine], Affine, Affine]:
    """A query for each head, and the group's key and value."""
    forms = [_form(head, basis, mean) for head in group]
    of_keys = sum(N.T @ N + torch.outer(r, r) for N, r in forms)
    of_values = _gram_of_values(group, basis)
    assert isinstance(of_keys, Tensor)
    if tied:
        of_keys = of_keys / of_keys.trace().clamp(min=1e-300) + of_values / of_values.trace().clamp(min=1e-300)
    size = len(group[0].value.weight)
    V = leading(of_keys, size)
    key = _affine(V.T, basis, mean, size)
    queries = [_affine((N @ V).T, basis, mean, size, V.T @ r) for N, r in forms]
    return queries, key, key if tied else _affine(leading(of_values, size).T, basis, mean, size)


def _rotated(group: list[HeadMaps], second: Tensor) -> tuple[list[Affine], Affine]:
    """Biases are rotated, too: x has a 1 appended, of which `second` is the second moment."""
    basis = MetricBasis(torch.eye(len(second), dtype=torch.float64), second)
    sides = [[_planes(side, basis) for side in (head.query, head.key)] for head in group]
    weighted = torch.stack([beta * alpha.norm(dim=-1, keepdim=True) for alpha, beta in sides], dim=1)  # K/2 r R
    key = torch.linalg.svd(weighted, full_matrices=False)[2][:, 0]
    queries = [alpha * (beta.conj() * key).sum(-1, keepdim=True) for alpha, beta in sides]
    return [_of_planes(query, basis) for query in queries], _of_planes(key, basis)


def _value(group: list[HeadMaps], basis: MetricBasis, mean: Tensor) -> Affine:
    size = len(group[0].value.weight)
    return _affine(leading(_gram_of_values(group, basis), size).T, basis, mean, size)


def _form(head: HeadMaps, basis: MetricBasis, mean: Tensor) -> tuple[Tensor, Tensor]:
    """N (R, R) and r (R,)"""
    assert head.query is not None and head.key is not None
    query, key = (part.weight @ basis.coordinates for part in (head.query, head.key))
    return query.T @ key, key.T @ (head.query.weight @ mean + head.query.bias)


def _gram_of_values(group: list[HeadMaps], basis: MetricBasis) -> Tensor:
    made = [head.output @ head.value.weight @ basis.coordinates for head in group]
    return torch.stack([each.T @ each for each in made]).sum(0)


def _affine(rows: Tensor, basis: MetricBasis, mean: Tensor, size: int, constant: Tensor | None = None) -> Affine:
    """rows (x - mean) + constant; short of `size` rows, the rest are zero."""
    weight = torch.nn.functional.pad(basis.rows(rows), (0, 0, 0, size - len(rows)))
    constant = weight.new_zeros(len(rows)) if constant is None else constant
    return Affine(weight, torch.nn.functional.pad(constant, (0, size - len(rows))) - weight @ mean)


def _planes(side: Affine | None, basis: MetricBasis) -> Tensor:
    assert side is not None
    return to_planes(torch.cat((side.weight, side.bias[:, None]), 1) @ basis.coordinates)


def _of_planes(planes: Tensor, basis: MetricBasis) -> Affine:
    rows = basis.rows(to_rows(planes))
    return Affine(rows[:, :-1], rows[:, -1])
