"""MiniLM: a student's tokens are to relate to each other as the teacher's do, in one attention layer.

With x a layer's queries, keys or values in R heads of size S, and the softmax over the tokens j of a text,

    relation_r(i, j) = softmax_j( x_ri . x_rj / sqrt(S) )
    loss_i = sum over x  1/R sum_r  KL( teacher's relation_r(i) || student's relation_r(i) )

    minilm     the values' relation, head by head, and the attention distribution softmax_j(scores) itself: both models
               need equally many heads (Wang et al., 2020, "MiniLM", section 3)
    minilm2    the relations of queries, keys and values, whose heads are laid side by side and cut anew into R heads:
               widths and numbers of heads are free (Wang et al., 2021, "MiniLMv2", section 3)

A relation is L x L whatever the widths, so a student of 384 learns from a teacher of 768. Heads are taken as the
projection makes them, before rotary positions, which rotate heads of different sizes differently.

A student has the relations of its mechanism. One that has no queries and keys (`random`, `dense`) has its values' only;
in v1 the distribution it synthesises stands in for attention. What plays two parts has one relation for both: with
queries = keys (`symmetric`, `pairwise`, `phased`) it follows the teacher's queries, with keys = values or queries =
values the teacher's values. `shared` has three, under three diagonals. A teacher of this kind has both, alike.

Shape letters: B batch, L length, H heads, K head size, R relation heads, S their size.
"""

from torch import Tensor

from leanformer.attention import Heads
from leanformer.distillation.divergence import divergence
from leanformer.distillation.watch import Watched


def minilm(teacher: Watched, student: Watched, allowed_BHLL: Tensor | None) -> Tensor:
    """The loss of every token, (B, L); `allowed` says which tokens are related, broadcastable to (B, H, L, L)."""
    attention = divergence(teacher.scores(), student.scores(), allowed_BHLL).mean(dim=1)
    heads = len(teacher.heads.value[0])
    return attention + _relation(teacher.heads.value, student.heads.value, heads, allowed_BHLL)


def minilm2(teacher: Watched, student: Watched, heads: int, allowed_BHLL: Tensor | None) -> Tensor:
    """The loss of every token, (B, L), with R = `heads`, which divides the width of both models' heads together."""
    losses = [
        _relation(getattr(teacher.heads, name), getattr(student.heads, name), heads, allowed_BHLL)
        for name in relations(teacher.heads, student.heads)
    ]
    return sum(losses[1:], start=losses[0])


def relations(teacher: Heads, student: Heads) -> list[str]:
    """The fields of `Heads` that both have, each of the student's once."""
    names: dict[int, str] = {}
    for name in ("value", "query", "key"):
        own = getattr(student, name)
        if own is not None and getattr(teacher, name) is not None:
            names.setdefault(id(own), name)
    return list(names.values())


def relation_scores(x_BHLK: Tensor, heads: int) -> Tensor:
    """x_i . x_j / sqrt(S) of the heads cut anew, (B, R, L, L)."""
    x_BRLS = x_BHLK.transpose(1, 2).flatten(2).unflatten(-1, (heads, -1)).transpose(1, 2)
    return (x_BRLS * x_BRLS.shape[-1] ** -0.5) @ x_BRLS.transpose(-1, -2)


def _relation(teacher: Tensor, student: Tensor, heads: int, allowed: Tensor | None) -> Tensor:
    return divergence(relation_scores(teacher, heads), relation_scores(student, heads), allowed).mean(dim=1)
