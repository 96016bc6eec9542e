"""The validation loss that our records lead one to expect, where they allow a prediction.

    L(D) = A D^-b        A = 63.4, b = 0.1830        nats per masked word piece, D tokens

is the line through the last validations of three recorded runs, in log L and log D: 2 M tokens
(docs/results/performance/time-to-loss-trial.json), 8 M and 24 M (docs/results/conversion: results.json and
longer-teacher.json). All have 4 layers of 256, rotary positions, pre-norm, Muon, no dropout, and read Simple English
Wikipedia in 8,192 word pieces. The line misses them by 0.05 nats or less, and by 0.11 the mean of five runs with 4
layers of 192 and 4,096 word pieces (docs/results/shared-weights). Another text may miss it by more.

The prediction is left out for another recipe, mechanism or size, outside of 1.5 to 24 M tokens, for repeated text, and
for a text the entropy of whose token frequencies differs from theirs, because of its words or its vocabulary.
"""

import numpy as np

from leanformer.data.corpus import Corpus
from leanformer.data.no_context import unigram
from leanformer.settings import Settings

A, B = 63.4, 0.1830
SIZES = ((4, 192), (4, 256))
TOKENS = (1_500_000, 24_100_000)
ENTROPY = (6.5, 7.2)
"""Entropy of the frequencies of tokens, nats; that of the records is 6.66 (4,096 word pieces) to 7.06 (8,192)."""
MODEL = {"positions": "rotary", "norm": "pre", "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


def expected_loss(settings: Settings, corpus: Corpus, tokens: int) -> float | None:
    """Returns the loss at the end of the run, None where the records allow no prediction."""
    model, training = settings.model, settings.training
    known = (
        training.objective == "masked_lm"
        and training.optimizer == "muon"
        and model.get("attention", "dot_product") == "dot_product"
        and all(model.get(key) == value for key, value in MODEL.items())
        and (model.get("num_hidden_layers"), model.get("hidden_size")) in SIZES
        and TOKENS[0] <= tokens <= min(TOKENS[1], len(corpus.train))
    )
    if not known or not ENTROPY[0] <= _entropy(corpus) <= ENTROPY[1]:
        return None
    return A * tokens**-B


def _entropy(corpus: Corpus) -> float:
    """Returns the entropy of the frequencies of the training tokens, nats; reads the text once."""
    chances = unigram(corpus.train.counts(corpus.vocab_size), corpus.vocabulary)
    chances = chances[chances > 0]
    return float(-(chances * np.log(chances)).sum())
