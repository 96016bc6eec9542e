"""The no-context baseline: the loss of the best predictor that sees only the corrupted token itself.

Let u(t) be the training frequency of the ordinary token t, K the number of ordinary tokens, and o the token seen at a
masked position. With 80/10/10 and uniform random replacement (`masking.py`), Bayes' rule gives

    P(t | o = [MASK])   = u(t)
    P(t | o ordinary)   = u(t) ([t = o] + 1/K) / (u(o) + 1/K)

and the baseline is the mean of -log P(t | o) over the targets. It is below the unigram entropy, the mean of -log u(t),
because tokens that are not replaced can be seen. A run that is not below it has learned nothing from context.

u is smoothed by one count per token, so that a token that is missing in the training text has a finite loss.
All losses are in nats. V vocabulary, K ordinary tokens.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from leanformer.data.masking import IGNORED, Masked
from leanformer.data.vocabulary import Vocabulary


class Floor(NamedTuple):
    context_free: float
    unigram: float
    """The cross-entropy of the training frequencies on the same targets, the best loss without seeing any token."""


def unigram(counts: NDArray[np.integer], vocabulary: Vocabulary) -> NDArray[np.float64]:
    """Returns (V,), u(t) from training counts (V,): add-one over the ordinary tokens, zero for special ones."""
    smoothed = np.where(vocabulary.is_special, 0.0, counts + 1.0)
    return smoothed / smoothed.sum()


def no_context_baseline(counts: NDArray[np.integer], masked: Masked, vocabulary: Vocabulary) -> Floor:
    """Returns the baseline on these masks (the fixed validation masks, with all sequences in one `Masked`)."""
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
    """Returns the baseline if the target is not seen: both losses are the cross-entropy of the training frequencies.

    Special tokens are targets here, since [SEP] ends a text, so u is smoothed by one count over the vocabulary (V,).
    """
    if not targets.size:
        raise ValueError("these texts ask for no token: there is no baseline to compute")
    u = (counts + 1.0) / (counts.sum() + len(counts))
    loss = float(-np.log(u[targets]).mean())
    return Floor(loss, loss)
