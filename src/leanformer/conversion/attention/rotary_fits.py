"""The same starts where positions rotate queries and keys: plane by plane.

A pair of a head's channels is one complex number, q_c = alpha_c . x and k_c = beta_c . x, and a logit at distance p is

    Re sum_c  (alpha_c . x_i) conj(beta_c . x_j) e^(i theta_c p)

so channels of different planes cannot be mixed as in `fits`, and a fit of Q' K would hold at p = 0 only. Over all
distances the planes' errors add up, sum_c |alpha_c beta_c^H - alpha'_c beta'_c^H|_F^2, and each plane has its own best:

    symmetric    gamma gamma^H               the leading eigenvector of the Hermitian part of alpha beta^H
    phased       e^(i phi) gamma gamma^H     the same of e^(-i phi) alpha beta^H, phi = arg(beta^H alpha)
    shared       +- gamma gamma^H            phi is 0 or pi, a sign of D_q
    pairwise     T is gamma, or the keys     U' T takes up what is best for the queries in the span of T's rows

The rows of T are no orthonormal basis, and exact U are large and cancel where rows are nearly dependent. U is therefore
the one of the least ridge, sum_kl E k_k^2 U_kl^2, whose condition keeps to the limit of `fits`.

Biases are rotated, too, so softmax sees them: x has a 1 appended. A value that shares its map is met as in `fits`;
where keys (or queries) are also the values, they stay as they are, and the value takes what it gets.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from leanformer.conversion.attention.bounded import LIMIT, SLACK, bounded
from leanformer.conversion.attention.fits import HeadProblem, Start
from leanformer.conversion.attention.layer_maps import Affine, HeadMaps, to_planes, to_rows
from leanformer.conversion.attention.metric import MetricBasis


class RotaryProblem(HeadProblem):
    """`mean` and `metric` are those of `fits`, for the value; `second` is E x x' of x with a 1 appended."""

    def __init__(self, head: HeadMaps, mean: Tensor, metric: Tensor, second: Tensor, scale: float) -> None:
        assert head.query is not None and head.key is not None
        super().__init__(head, mean, metric)
        rows = [torch.cat((each.weight, each.bias[:, None]), 1) for each in (head.query, head.key)]
        self.basis = MetricBasis(torch.cat((rows[0] / scale, rows[1])), second)
        query, key = self.basis.coordinates.chunk(2)
        self.alpha, self.beta = to_planes(query), to_planes(key)
        keys = head.key.weight @ metric @ head.key.weight.T
        constant = head.query.weight @ mean + head.query.bias
        energy = ((head.query.weight @ metric @ head.query.weight.T) * keys).sum() + constant @ keys @ constant
        self.energy = (energy / scale**2).clamp(min=1e-300)
        own = (query.square().sum(1) @ key.square().sum(1) / self.energy).sqrt()
        self.limit = max(LIMIT, float(own))

    def affine(self, rows_KR: Tensor) -> Affine:
        rows = self.basis.rows(rows_KR)
        return Affine(rows[:, :-1], rows[:, -1])

    def residual(self, alpha: Tensor, beta: Tensor) -> float:
        return _error(self.alpha, self.beta, alpha, beta)

    def gamma(self, phases: Tensor) -> Tensor:
        """(K / 2, R): of each plane, gamma gamma^H the nearest to e^(-i phi) alpha beta^H.

        With unit vectors a and b and s = b^H a, the Hermitian part of a b^H has the eigenvector a + u b, where
        u = -i Im s + sqrt(1 - (Im s)^2), of eigenvalue (Re s + sqrt(1 - (Im s)^2)) / 2, its only positive one.
        """
        rotated = self.alpha * torch.exp(-1j * phases)[:, None]
        lengths = _square(rotated).sqrt().clamp(min=1e-150), _square(self.beta).sqrt().clamp(min=1e-150)
        a, b = rotated / lengths[0][:, None], self.beta / lengths[1][:, None]
        s = _dot(b, a)
        root = (1 - s.imag.square()).clamp(min=0).sqrt()
        direction = a + torch.complex(root, -s.imag)[:, None] * b
        value = lengths[0] * lengths[1] * (s.real + root).clamp(min=0) / 2
        return direction * (value / _square(direction).clamp(min=1e-300)).sqrt()[:, None]

    def between(self, rows_KR: Tensor, queries_KR: Tensor) -> Tensor:
        """U (K, K) for which U' T is nearest to the queries within the limit; T are these rows."""
        lengths = rows_KR.norm(dim=1).clamp(min=1e-150)

        def fine(scaled_KK: Tensor) -> bool:  # diag(lengths) U
            square = (scaled_KK.square() @ lengths.square()).sum()
            return float((square / self.energy).sqrt()) <= self.limit * (1 + SLACK)

        return bounded((rows_KR / lengths[:, None]).T, queries_KR.T, fine) / lengths[:, None]

    def phases(self) -> Tensor:
        return _dot(self.beta, self.alpha).angle()


def symmetric(problem: RotaryProblem) -> Start:
    gamma = problem.gamma(torch.zeros(len(problem.alpha), dtype=torch.float64))
    return problem.own_value({"query": problem.affine(to_rows(gamma))}, problem.residual(gamma, gamma))


def phased(problem: RotaryProblem) -> Start:
    token, logits, form = _phased(problem)
    return problem.own_value({"query": token}, logits, form)


def phased_shared(problem: RotaryProblem) -> Start:
    token, logits, form = _phased(problem)
    return problem.tied_value({"query": token}, token, logits, form, **_unscaled(token))


def shared(problem: RotaryProblem) -> Start:
    signs = torch.where(_dot(problem.beta, problem.alpha).real < 0, -1.0, 1.0).double()
    gamma = problem.gamma(torch.where(signs < 0, torch.pi, 0.0).double())
    token = problem.affine(to_rows(gamma))
    logits = problem.residual(gamma * signs[:, None], gamma)
    return problem.tied_value({"query": token}, token, logits, **_unscaled(token) | {"query_scale": signs.repeat(2)})


def pairwise(problem: RotaryProblem) -> Start:
    token, logits, form = _pairwise(problem)
    return problem.own_value({"query": token}, logits, form)


def pairwise_shared(problem: RotaryProblem) -> Start:
    token, logits, form = _pairwise(problem)
    return problem.tied_value({"query": token}, token, logits, form, **_unscaled(token))


def shared_key_value(problem: RotaryProblem) -> Start:
    query = problem.affine(to_rows(problem.alpha))
    key = problem.affine(to_rows(problem.beta))
    return problem.tied_value({"query": query, "key": key}, key, 0.0)


def shared_query_value(problem: RotaryProblem) -> Start:
    query = problem.affine(to_rows(problem.alpha))
    key = problem.affine(to_rows(problem.beta))
    return problem.tied_value({"query": query, "key": key}, query, 0.0)


def _unscaled(token: Affine) -> dict[str, Tensor]:
    return {f"{part}_scale": torch.ones_like(token.bias) for part in ("query", "key", "value")}


def _phased(problem: RotaryProblem) -> tuple[Affine, float, Tensor]:
    phases = problem.phases()
    gamma = problem.gamma(phases)
    logits = problem.residual(gamma * torch.exp(1j * phases)[:, None], gamma)
    cos, sin = phases.cos().diag(), phases.sin().diag()
    return problem.affine(to_rows(gamma)), logits, torch.cat((torch.cat((cos, sin), 1), torch.cat((-sin, cos), 1)))


def _pairwise(problem: RotaryProblem) -> tuple[Affine, float, Tensor]:
    best: tuple[Affine, float, Tensor] | None = None
    for planes in (problem.gamma(problem.phases()), problem.beta):
        wanted = problem.alpha * (_dot(problem.beta, planes) / _square(planes).clamp(min=1e-300))[:, None]
        rows = to_rows(planes)
        form = problem.between(rows, to_rows(wanted))
        found = problem.residual(to_planes(form.T @ rows), planes)
        if best is None or found < best[1]:
            best = problem.affine(rows), found, form
    assert best is not None
    return best


def logits_error(old: HeadMaps, new: HeadMaps, second: Tensor) -> float:
    """What the logits of `new` miss of those of `old`, relative to these, over all distances alike."""
    assert old.query is not None and old.key is not None and new.query is not None and new.key is not None
    rows = [torch.cat((each.weight, each.bias[:, None]), 1) for each in (old.query, old.key, new.query, new.key)]
    return _error(*map(to_planes, MetricBasis(torch.cat(rows), second).coordinates.chunk(4)))


def _error(alpha: Tensor, beta: Tensor, alpha2: Tensor, beta2: Tensor) -> float:
    """sum_c |a b^H - a' b'^H|^2 = sum_c |a|^2 |b|^2 + |a'|^2 |b'|^2 - 2 Re (a^H a') (b'^H b), its root, relative"""
    own = (_square(alpha) * _square(beta)).sum()
    other = (_square(alpha2) * _square(beta2)).sum()
    crossed = (_dot(alpha, alpha2) * _dot(beta2, beta)).real.sum()
    return float(((own + other - 2 * crossed).clamp(min=0) / own.clamp(min=1e-300)).sqrt())


def _dot(left: Tensor, right: Tensor) -> Tensor:
    """left_c^H right_c"""
    return (left.conj() * right).sum(-1)


def _square(planes: Tensor) -> Tensor:
    return planes.abs().square().sum(-1)


FITS: dict[tuple[str, str], Callable[[RotaryProblem], Start]] = {
    ("qk,v", "scale"): symmetric,
    ("qk,v", "matrix"): pairwise,
    ("qk,v", "planes"): phased,
    ("qkv", "scale"): shared,
    ("qkv", "matrix"): pairwise_shared,
    ("qkv", "planes"): phased_shared,
    ("q,kv", "scale"): shared_key_value,
    ("q,kv", "matrix"): shared_key_value,
    ("q,kv", "planes"): shared_key_value,
    ("qv,k", "scale"): shared_query_value,
    ("qv,k", "matrix"): shared_query_value,
    ("qv,k", "planes"): shared_query_value,
}
"""Fits by what the projection ties and the family of the compatibility's form."""
