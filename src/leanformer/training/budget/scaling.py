"""The rule by which a budget sets sizes. N parameters of the model with its head, D tokens, U tokens of training text.

    D' = D                                     D <= U       repeated text teaches less than new text:
       = U + U R (1 - exp(-(D/U - 1) / R))     D > U        Muennighoff et al. (2023), R = 15.4
    D <= (1 + R) U                                          another epoch is then worth 1/e of as much new text
    N    the size of the ladder for which D' / (20 N) is closest to 1, as a ratio      Hoffmann et al. (2022)
    B    the power of two closest to B0 sqrt(D / D0)        the batch that training can use grows about with the square
                                                            root of the tokens: Zhang et al. (2024)
    rate = rate0 sqrt(width0 / width)                       our gpu-base takes 6e-4 at 768 where fast takes 1e-3 at 256
    warm-up = the recipe's share of the budget, at most 2 / (1 - beta2) steps          Ma and Yarats (2021)

B0, D0, rate0 and width0 are those of the recipe. Twenty tokens per parameter were found for causal language models far
larger than these. The optimum is flat: with half or twice the size, the same compute gives almost the same loss.
"""

from collections.abc import Sequence
from math import exp, log, log2, sqrt

TOKENS_PER_PARAMETER = 20.0
REPEATS = 15.4
"""R: the repetitions after which one more is worth 1/e of new text."""
BATCHES = (16, 512)
"""The smallest and the largest batch of a plan, in sequences."""
FIRST_BATCH = 8
"""The smallest batch with which one that grows begins: an update of Muon takes as long as some hundred tokens do."""


def effective(tokens: float, unique: float) -> float:
    """Returns D'."""
    if tokens <= unique:
        return tokens
    return unique * (1 + REPEATS * (1 - exp(-(tokens / unique - 1) / REPEATS)))


def most_tokens(unique: float) -> float:
    """Returns the largest D for this text."""
    return (1 + REPEATS) * unique


def best_size(parameters: Sequence[int], tokens: Sequence[float], unique: float) -> int:
    """Returns the place of the best of several sizes, given the tokens D that the budget allows each of them."""

    def distance(place: int) -> float:
        return abs(log(effective(tokens[place], unique) / (TOKENS_PER_PARAMETER * parameters[place])))

    return min(range(len(parameters)), key=distance)


def batch_size(recipe_batch: int, recipe_tokens: float, tokens: float, sequences: int) -> int:
    """Returns B for a text of so many training sequences."""
    least, most = BATCHES
    exact = recipe_batch * sqrt(tokens / recipe_tokens)
    return int(2 ** min(round(log2(min(max(exact, least), most))), int(log2(sequences))))


def first_batch_size(recipe_first: int, recipe_batch: int, batch: int) -> int:
    """Returns the size with which the batch begins to grow: the recipe's part of the batch."""
    return min(batch, max(FIRST_BATCH, batch * recipe_first // recipe_batch))


def learning_rate(recipe_rate: float, recipe_width: int, width: int) -> float:
    """Returns the rate with three significant digits."""
    return float(f"{recipe_rate * sqrt(recipe_width / width):.3g}")


def warmup(recipe_share: float, steps: int, beta2: float) -> float:
    """Returns the warm-up as a fraction of the budget, with three significant digits."""
    return float(f"{min(recipe_share, 2 / (1 - beta2) / steps):.3g}")
