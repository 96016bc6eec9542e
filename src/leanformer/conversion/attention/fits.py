"""Closed-form starts: one head of separate maps, expressed by tied ones, where positions are not rotary.

Softmax does not see what is the same for every j. With m the mean hidden state a logit is, but for that,

    (x_i - m)' N (x_j - m) + r' (x_j - m),      N = Q' K,   r = K' (Q m + a)

so a head is a matrix N and a vector r, in the coordinates of a `MetricBasis` under the covariance of x. All tied forms
have one map T of tokens, t(x) = T (x - m) + t, whose rows span a space of K dimensions with an orthonormal basis V:

    pairwise             N ~ T' U T          given V the best U is V' N V, and r is met in the space by U' t = V' r:
                                             V maximises |V' N V|^2 + |V' r|^2
    symmetric            N ~ T' T            only the positive part of N + N' can be: its K largest eigenvalues
    shared               N ~ T' diag T       only N + N' can be, of either sign; V maximises its share and the value's
    shared_key_value     N ~ B' T            V maximises |N V|^2 + |V' r|^2 and the value's share
    shared_query_value   N ~ T' B            likewise with N'

Where a map is the value's too, the output map takes up what it makes of it: the best O for the same space, and what is
constant goes into the output bias, since weights add up to one.

Where t solves an equation in directions that say little, exact answers are large and cancel: at bf16 little is left of
them. t is therefore the least-squares solution whose condition is no worse than a limit, or than that of the source's
own head; where the exact solution is, it is taken.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from leanformer.conversion.attention.bounded import LIMIT, SLACK, VALUE_LIMIT, bounded
from leanformer.conversion.attention.layer_maps import Affine, HeadMaps
from leanformer.conversion.attention.metric import MetricBasis
from leanformer.conversion.attention.subspace import leading, space

WEAKEST = 0.05
"""The least scale of a row that balancing gives, as a fraction of the largest: nothing becomes exactly zero."""


@dataclass
class Start:
    """One head's: `maps` by the part that each plays, the first where it plays several; `extras` by the names of the
    projection's other parameters; `form`, what stands between query and key, None if nothing but the scale does; the
    output map, what it adds to the output bias, and the relative errors that remain of N and r, and of the value.
    """

    maps: dict[str, Affine]
    output: Tensor  # D K
    shift: Tensor  # D
    logits_residual: float
    value_residual: float = 0.0
    extras: dict[str, Tensor] = field(default_factory=dict)
    form: Tensor | None = None  # K K, times the scale it is the compatibility's


class HeadProblem:
    """A head to be fitted, with the mean and the metric of what its layer reads: how a fit of its queries and keys
    becomes a start, with a value map of its own or with a tied one."""

    def __init__(self, head: HeadMaps, mean: Tensor, metric: Tensor) -> None:
        self.head, self.mean, self.metric = head, mean, metric

    def own_value(self, maps: dict[str, Affine], logits: float, form: Tensor | None = None) -> Start:
        """Returns a start that leaves the value and output maps as they were."""
        output = self.head.output
        return Start(maps | {"value": self.head.value}, output, output.new_zeros(len(output)), logits, form=form)

    def tied_value(
        self, maps: dict[str, Affine], tied: Affine, logits: float, form: Tensor | None = None, **extras: Tensor
    ) -> Start:
        output, shift, residual = value_of(self.head, tied, self.mean, self.metric)
        return Start(maps, output, shift, logits, residual, extras, form)


class Problem(HeadProblem):
    """The head above; the target divides its logits by 1 / `scale`, so N and r are here for logits that it does not."""

    def __init__(self, head: HeadMaps, mean: Tensor, metric: Tensor, scale: float, values: bool = True) -> None:
        """`values`: whether a tied map is to be the value's, too."""
        assert head.query is not None and head.key is not None
        super().__init__(head, mean, metric)
        self.size = len(head.query.weight)
        rows = [head.query.weight, head.key.weight] + [head.value.weight] * values
        self.basis = MetricBasis(torch.cat(rows), metric)
        self.query, self.key, *value = self.basis.coordinates.split(self.size)
        self.N = self.query.T @ self.key / scale
        self.r = self.key.T @ (head.query.weight @ mean + head.query.bias) / scale
        self.O = head.output @ value[0] if values else torch.zeros_like(self.query)
        self.energy = (self.N.square().sum() + self.r.square().sum()).clamp(min=1e-300)
        self.value_energy = self.O.square().sum().clamp(min=1e-300)
        one = torch.ones(self.size, dtype=metric.dtype)
        squares = [
            rows.square().sum(1) + (each.weight @ mean + each.bias).square()
            for rows, each in ((self.query, head.query), (self.key, head.key), *((v, head.value) for v in value))
        ]
        own = self.condition(squares[0] / scale**2, one.diag(), squares[1])
        self.limit = max(LIMIT, own)
        if values:
            self.value_limit = max(VALUE_LIMIT, self.value_condition(head.output, squares[2]))

    def affine(self, rows_KR: Tensor, constant_K: Tensor) -> Affine:
        """rows (x - m) + constant; short of K rows, the rest are zero."""
        missing = self.size - len(rows_KR)
        rows_KR = torch.nn.functional.pad(rows_KR, (0, 0, 0, missing))
        weight = self.basis.rows(rows_KR)
        return Affine(weight, torch.nn.functional.pad(constant_K, (0, missing)) - weight @ self.mean)

    def condition(self, query_K: Tensor, form_KK: Tensor, key_K: Tensor) -> float:
        """The root of sum_kl E q_k^2 U_kl^2 E k_l^2 over the logits' own mean square; given the mean squares."""
        return float((query_K @ form_KK.square() @ key_K / self.energy).sqrt())

    def value_condition(self, output_RK: Tensor, value_K: Tensor) -> float:
        """The same of the output map and the values: the root of sum_k |O_k|^2 E v_k^2 over that of what they make."""
        return float((output_RK.square().sum(0) @ value_K / self.value_energy).sqrt())

    def offset(self, T: Tensor, U: Tensor, right: Tensor | None = None, outputs: Tensor | None = None) -> Tensor:
        """t (K,) of t(x) = T (x - m) + t, for which T' U' t, or right' t, is nearest to r within the limits.

        `right` (K, R) are the keys of a query t(x), if they are others than t(x); `outputs` (R, K) is the output map of
        values t(x), if these are tied, too.
        """
        spread = T.square().sum(1)

        def fine(t: Tensor) -> bool:
            square = spread + t.square()
            key = square if right is None else right.square().sum(1)
            within = self.condition(square, U, key) <= self.limit * (1 + SLACK)
            if within and outputs is not None:
                within = self.value_condition(outputs, square) <= self.value_limit * (1 + SLACK)
            return within

        return bounded((T.T @ U.T) if right is None else right.T, self.r, fine)

    def residual(self, N: Tensor, r: Tensor) -> float:
        return float((((self.N - N).square().sum() + (self.r - r).square().sum()) / self.energy).sqrt())


def value_of(head: HeadMaps, tied: Affine, mean: Tensor, metric: Tensor) -> tuple[Tensor, Tensor, float]:
    """The output map for which the map `tied` is the best value: O' = O V C T' (T C T')^+, what is then to be added to
    the output bias, and the relative error."""
    wanted = head.output @ head.value.weight
    crossed = wanted @ metric @ tied.weight.T
    output = crossed @ torch.linalg.pinv(tied.weight @ metric @ tied.weight.T, hermitian=True)
    left = wanted - output @ tied.weight
    energy = ((wanted @ metric) * wanted).sum().clamp(min=1e-300)
    residual = float((((left @ metric) * left).sum() / energy).clamp(min=0).sqrt())
    constant = head.output @ (head.value.weight @ mean + head.value.bias)
    return output, constant - output @ (tied.weight @ mean + tied.bias), residual


def logits_error(old: HeadMaps, new: HeadMaps, mean: Tensor, metric: Tensor) -> float:
    """What the logits of `new` miss of those of `old`, relative to these: the residual of N and r."""
    assert old.query is not None and old.key is not None and new.query is not None and new.key is not None
    rows = torch.cat([each.weight for each in (old.query, old.key, new.query, new.key)])
    query, key, query2, key2 = MetricBasis(rows, metric).coordinates.chunk(4)
    N, N2 = query.T @ key, query2.T @ key2
    r, r2 = (k.T @ (q.weight @ mean + q.bias) for k, q in ((key, old.query), (key2, new.query)))
    energy = (N.square().sum() + r.square().sum()).clamp(min=1e-300)
    return float((((N - N2).square().sum() + (r - r2).square().sum()) / energy).sqrt())


def value_error(old: HeadMaps, new: HeadMaps, metric: Tensor) -> float:
    """What the output map makes of the values of `new`, against `old`, relative to this."""
    wanted, found = (each.output @ each.value.weight for each in (old, new))
    missed, energy = (((part @ metric) * part).sum() for part in (wanted - found, wanted))
    return float((missed.clamp(min=0) / energy.clamp(min=1e-300)).sqrt())


def pairwise(problem: Problem) -> Start:
    V, U, t = _directed(problem, torch.outer(problem.r, problem.r))
    logits = _bilinear(problem, V, U, t)
    scales, U = _balanced(U)
    token = problem.affine(V.T * scales[:, None], t * scales)
    return problem.own_value({"query": token}, logits, _square(U, problem.size))


def pairwise_shared(problem: Problem) -> Start:
    """One map for all three, and coefficients."""
    V, U, t = _directed(problem, torch.outer(problem.r, problem.r) + _value_share(problem), tied=True)
    logits = _bilinear(problem, V, U, t)
    scales, U = _balanced(U)
    token, one = problem.affine(V.T * scales[:, None], t * scales), torch.ones(problem.size, dtype=V.dtype)
    extras = dict(query_scale=one, key_scale=one, value_scale=one)
    return problem.tied_value({"query": token}, token, logits, _square(U, problem.size), **extras)


def symmetric(problem: Problem) -> Start:
    """Eigenvalues of [[S, r], [r', c]], S = (N + N') / 2: with the constant c, which softmax does not see, T can spend
    a dimension on r. c is searched on a grid, and t then solves T' t = r."""
    S, r = (problem.N + problem.N.T) / 2, problem.r
    best: tuple[float, Tensor, Tensor] | None = None
    natural = r.square().sum() / torch.linalg.matrix_norm(S, 2).clamp(min=1e-300)
    for times in (0.0, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0):
        bordered = torch.cat((torch.cat((S, r[:, None]), 1), torch.cat((r, (times * natural)[None]))[None]))
        values, vectors = torch.linalg.eigh(bordered if times else S)
        roots = values[-problem.size :].clamp(min=0).sqrt()
        T = (vectors[: len(S), -problem.size :] * roots).T
        t = problem.offset(T, torch.eye(len(T), dtype=T.dtype))
        found = problem.residual(T.T @ T, T.T @ t)
        if best is None or found < best[0]:
            best = found, T, t
    assert best is not None
    return problem.own_value({"query": problem.affine(*best[1:])}, best[0])


def shared(problem: Problem) -> Start:
    S = (problem.N + problem.N.T) / 2
    linear = torch.outer(problem.r, problem.r) + _value_share(problem)
    V = space(S, linear, problem.size, (problem.query, problem.key))
    values, vectors = torch.linalg.eigh(V.T @ S @ V)
    V = V @ vectors
    t = problem.offset(V.T, values.diag(), outputs=problem.O @ V)
    token = problem.affine(V.T, t)
    roots = torch.nn.functional.pad(values.abs().sqrt(), (0, problem.size - len(values)))
    signs = torch.nn.functional.pad(values.sign(), (0, problem.size - len(values)))
    logits = problem.residual((V * values) @ V.T, (V * values) @ t)
    extras = dict(query_scale=signs * roots, key_scale=roots, value_scale=torch.ones_like(roots))
    return problem.tied_value({"query": token}, token, logits, **extras)


def shared_key_value(problem: Problem) -> Start:
    N, r = problem.N, problem.r
    V = leading(N.T @ N + torch.outer(r, r) + _value_share(problem), problem.size)
    tied = problem.affine(V.T, torch.zeros(V.shape[1], dtype=V.dtype))
    query = problem.affine((N @ V).T, V.T @ r)
    return problem.tied_value({"query": query, "key": tied}, tied, problem.residual(N @ V @ V.T, V @ V.T @ r))


def shared_query_value(problem: Problem) -> Start:
    N = problem.N
    V = leading(N @ N.T + _value_share(problem), problem.size)
    key = V.T @ N
    t = problem.offset(V.T, torch.eye(len(key), dtype=V.dtype), right=key, outputs=problem.O @ V)
    tied = problem.affine(V.T, t)
    maps = {"query": tied, "key": problem.affine(key, torch.zeros(len(key), dtype=V.dtype))}
    return problem.tied_value(maps, tied, problem.residual(V @ key, key.T @ t))


def _directed(problem: Problem, linear: Tensor, tied: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    V = space(problem.N, linear, problem.size, (problem.query, problem.key))
    U = V.T @ problem.N @ V
    return V, U, problem.offset(V.T, U, outputs=problem.O @ V if tied else None)


def _balanced(U: Tensor) -> tuple[Tensor, Tensor]:
    """Scales s (K,) of the rows of T, and U_kl / (s_k s_l) for them: rows and columns of the coefficients then have
    lengths near one, as those of the identity have, and what the head cares about most is largest in T."""
    scales = torch.ones(len(U), dtype=U.dtype)
    for _ in range(5 if U.any() else 0):
        now = U / (scales[:, None] * scales)
        lengths = (now.square().sum(0) * now.square().sum(1)) ** 0.125
        scales = scales * lengths.clamp(min=1e-150)
        scales = scales.clamp(min=WEAKEST * scales.max())
    return scales, U / (scales[:, None] * scales)


def _bilinear(problem: Problem, V: Tensor, U: Tensor, t: Tensor) -> float:
    return problem.residual(V @ U @ V.T, V @ (U.T @ t))


def _value_share(problem: Problem) -> Tensor:
    """What the space is worth to the value, as much as to the logits."""
    return problem.O.T @ problem.O * (problem.energy / problem.value_energy)


def _square(U: Tensor, size: int) -> Tensor:
    missing = size - len(U)
    return torch.nn.functional.pad(U, (0, missing, 0, missing))


FITS: dict[tuple[str, str], Callable[[Problem], Start]] = {
    ("qk,v", "scale"): symmetric,
    ("qk,v", "matrix"): pairwise,
    ("qkv", "scale"): shared,
    ("qkv", "matrix"): pairwise_shared,
    ("q,kv", "scale"): shared_key_value,
    ("q,kv", "matrix"): shared_key_value,
    ("qv,k", "scale"): shared_query_value,
    ("qv,k", "matrix"): shared_query_value,
}
"""Fits by what the projection ties and the family of the compatibility's form. Separate maps need no fit."""
