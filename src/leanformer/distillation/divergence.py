"""How far one distribution is from another.

    KL(p || q) = sum_j p_j (log p_j - log q_j),    p = softmax(teacher),    q = softmax(student)

over the j that a mask allows, in nats; 0 where it allows none.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def divergence(teacher: Tensor, student: Tensor, allowed: Tensor | None = None) -> Tensor:
    """Scores (..., J) of both, broadcast to each other and to the boolean `allowed` -> (...), in float32 or better."""
    log_p, log_q = (_log_softmax(scores, allowed) for scores in (teacher, student))
    log_p, log_q = torch.broadcast_tensors(log_p, log_q)
    return F.kl_div(log_q, log_p, reduction="none", log_target=True).sum(dim=-1)


def _log_softmax(scores: Tensor, allowed: Tensor | None) -> Tensor:
    scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
    if allowed is not None:  # not -inf, of which two differ by NaN; half the minimum, from which more can be taken
        scores = scores.masked_fill(~allowed, torch.finfo(scores.dtype).min / 2)
    return scores.log_softmax(dim=-1)
