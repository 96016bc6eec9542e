"""Metrics of a text as the answer to a question (SQuAD 1.1: Rajpurkar et al., 2016, arXiv:1606.05250).

    exact_match = 1 if the normalized texts are equal, else 0
    token_f1    = 2 c / (n_answer + n_guess),    c = number of words in common, each as often as both texts have it

Normalizing removes case, ASCII punctuation, the articles a, an and the, and superfluous white space. If there are
several right answers, the best match counts. If a text has no words left, token_f1 is 1 if neither has any, else 0.
The right answer to a question without one is the empty text (SQuAD 2.0: Rajpurkar et al., 2018, arXiv:1806.03822).
"""

import re
import string
from collections import Counter
from collections.abc import Callable, Iterable

import numpy as np

PUNCTUATION = str.maketrans("", "", string.punctuation)
ARTICLES = re.compile(r"\b(a|an|the)\b")


def exact_match(labels: Iterable[dict[str, list]], guesses: Iterable[str]) -> float:
    """Returns the mean over questions; a label is {"text": [the right answers], ...}."""
    return _mean_of_best(lambda answer, guess: answer == guess, labels, guesses)


def token_f1(labels: Iterable[dict[str, list]], guesses: Iterable[str]) -> float:
    """Returns the mean over questions; a label is {"text": [the right answers], ...}."""
    return _mean_of_best(_f1, labels, guesses)


def _mean_of_best(
    measure: Callable[[list[str], list[str]], float], labels: Iterable[dict[str, list]], guesses: Iterable[str]
) -> float:
    asked = zip(labels, guesses, strict=True)
    return float(
        np.mean([max(measure(_words(text), _words(guess)) for text in label["text"] or [""]) for label, guess in asked])
    )


def _words(text: str) -> list[str]:
    return ARTICLES.sub(" ", text.lower().translate(PUNCTUATION)).split()


def _f1(answer: list[str], guess: list[str]) -> float:
    if not answer or not guess:
        return float(answer == guess)
    common = (Counter(answer) & Counter(guess)).total()
    return 2 * common / (len(answer) + len(guess))
