"""The losses between a student's and a teacher's sentence vectors, over a batch of B texts.

With s_i and t_i the two vectors of text i, c(a, b) = a . b / (|a| |b|), and the softmax over the other texts j of the
batch at a temperature T,

    cosine       mean_i        1 - c(s_i, t_i)
    mse          mean_i        |s_i - t_i|^2 / D
    similarity   mean_{i != j} ( c(s_i, s_j) - c(t_i, t_j) )^2
    ranking      mean_i        KL( softmax_j c(t_i, t_j) / T  ||  softmax_j c(s_i, s_j) / T )

`mse` is the loss of Reimers and Gurevych (2020), "Making monolingual sentence embeddings multilingual", per component.
`similarity` and `ranking` compare similarities only, so the two widths may differ; the vectors of the student may be
rotated against the teacher's. They are 0 for a batch of one text, and every loss is 0 for equal vectors.

B texts, D width.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from leanformer.distillation.divergence import divergence

SAME_WIDTH = ("cosine", "mse")
"""Losses that compare a student's vector with the teacher's, component by component."""


def cosine(student_BD: Tensor, teacher_BD: Tensor, temperature: float) -> Tensor:
    return (1 - F.cosine_similarity(student_BD, teacher_BD, dim=-1)).mean()


def mse(student_BD: Tensor, teacher_BD: Tensor, temperature: float) -> Tensor:
    return F.mse_loss(student_BD, teacher_BD)


def similarity(student_BD: Tensor, teacher_BD: Tensor, temperature: float) -> Tensor:
    student_BB, teacher_BB = cosines(student_BD), cosines(teacher_BD)
    others_BB = _others(student_BB)
    return (student_BB - teacher_BB).square().where(others_BB, 0.0).sum() / others_BB.sum().clamp(min=1)


def ranking(student_BD: Tensor, teacher_BD: Tensor, temperature: float) -> Tensor:
    student_BB, teacher_BB = cosines(student_BD), cosines(teacher_BD)
    return divergence(teacher_BB / temperature, student_BB / temperature, _others(student_BB)).mean()


def cosines(vectors_BD: Tensor) -> Tensor:
    """Returns the cosines of all pairs, (B, B)."""
    unit_BD = F.normalize(vectors_BD, dim=-1)
    return unit_BD @ unit_BD.T


def _others(table_BB: Tensor) -> Tensor:
    return ~torch.eye(len(table_BB), dtype=torch.bool, device=table_BB.device)


LOSSES: dict[str, Callable[[Tensor, Tensor, float], Tensor]] = {
    "cosine": cosine,
    "mse": mse,
    "similarity": similarity,
    "ranking": ranking,
}
