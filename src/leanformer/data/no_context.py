"""The no-context baseline: the loss of the best predictor that sees only the corrupted token itself.

Let u(t) be the training frequency of the ordinary token t, K their number, o what is seen at a masked position. Under
80/10/10 with uniform random replacement (`masking.py`), Bayes' rule gives

    P(t | o = [MASK])   = u(t)
    P(t | o ordinary)   = u(t) ([t = o] + 1/K) / (u(o) + 1/K)

and the baseline is the mean of -log P(t | o) over the targets. It lies below the unigram entropy, the mean of
-log u(t), because a token that was left as it is gives itself away. A run that is not below it has learned nothing from
context.

u is smoothed by one count a token, so that a token the training text lacks costs much, but not infinitely much.
All losses in nats. V vocabulary, K ordinary tokens.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from leanformer.data.masking import IGNORED, TO_MASK, TO_RANDOM, Masked
from leanformer.data.vocabulary import Vocabulary


class Floor(NamedTuple):
    context_free: float
    unigram: float
    """Cross-entropy of the training frequencies on the same targets: what a predictor that sees nothing can reach."""


def unigram(counts: NDArray[np.integer], vocabulary: Vocabulary) -> NDArray[np.float64]:
    """(V,) u(t) from training counts (V,): add-one over the ordinary tokens, zero for special ones."""
    smoothed = np.where(vocabulary.is_special, 0.0, counts + 1.0)
    return smoothed / smoothed.sum()


def no_context_baseline(counts: NDArray[np.integer], masked: Masked, vocabulary: Vocabulary) -> Floor:
    """The baseline on these very masks (the frozen validation masks: sequences side by side in one `Masked`)."""
    asked = masked.labels != IGNORED
    targets = masked.labels[asked]
    seen = np.take_along_axis(masked.corrupted, masked.positions, axis=1)[asked]
    if not targets.size:
        raise ValueError("no ordinary token is masked in these sequences: there is no baseline to compute")
    u, uniform = unigram(counts, vocabulary), 1 / len(vocabulary.ordinary_ids)
    unseen = -np.log(u[targets])
    evidence = ((targets == seen) + uniform) / (u[seen] + uniform)  # 1 where [MASK] is seen, since u([MASK]) = 0
    return Floor(float((unseen - np.log(evidence)).mean()), float(unseen.mean()))


def next_token_baseline(counts: NDArray[np.integer], targets: NDArray[np.integer]) -> Floor:
    """The baseline where nothing of the target is seen: both are the cross-entropy of the training frequencies.

    Special tokens are targets here, [SEP] ends a text, so u is smoothed by one count over all of the vocabulary (V,).
    """
    if not targets.size:
        raise ValueError("these texts ask for no token: there is no baseline to compute")
    u = (counts + 1.0) / (counts.sum() + len(counts))
    loss = float(-np.log(u[targets]).mean())
    return Floor(loss, loss)


def expected_baseline(
    counts: NDArray[np.integer], vocabulary: Vocabulary, target_counts: NDArray[np.integer] | None = None
) -> Floor:
    """The same before any mask is drawn: the expectation over masks, for targets distributed as `target_counts` (V,),
    by default as the training text itself.

    With v the targets' frequencies, 0.8 of them see [MASK], 0.1 (1 + 1/K) see themselves and 0.1/K each other token:

        E = sum_t v(t) (-log u(t))  -  0.1 sum_t v(t) (1 + 1/K) log((1 + 1/K) / (u(t) + 1/K))
                                    -  0.1 sum_o (1 - v(o)) / K log((1/K) / (u(o) + 1/K))
    """
    ordinary = vocabulary.ordinary_ids
    u = unigram(counts, vocabulary)[ordinary]
    v = u if target_counts is None else target_counts[ordinary] / target_counts[ordinary].sum()
    uniform = 1 / len(ordinary)
    unseen = float(-(v @ np.log(u)))
    same = v @ np.log((1 + uniform) / (u + uniform)) * (1 - TO_MASK - TO_RANDOM + TO_RANDOM * uniform)
    other = (1 - v) @ np.log(uniform / (u + uniform)) * TO_RANDOM * uniform
    return Floor(unseen - float(same + other), unseen)
