"""The batch of a distillation whose settings name none.

    B = the largest power of two with D / (B L) >= 500 steps, from 8 to 256 sequences

for a budget of D tokens in sequences of L. A recovery is short, and BERT's 256 sequences would leave it two steps. In a
budget of seconds, whose tokens are not known, it is 32; in one of steps it is the default of pre-training.
"""

from math import log2

from leanformer.settings import TrainingSettings

STEPS, LEAST, TIMED = 500, 8, 32


def default_batch_size(training: TrainingSettings) -> int:
    """Returns B, in sequences over all processes."""
    most = TrainingSettings.batch_size
    if training.max_seconds is not None:
        return TIMED
    if training.max_tokens is None:
        return most
    exact = training.max_tokens / (STEPS * training.sequence_length)
    return min(most, max(LEAST, 2 ** int(log2(max(1.0, exact)))))
