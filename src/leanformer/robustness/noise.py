"""Noise in a text, as a function of (text, level, seed, example): nothing depends on what was disturbed before.

A text is its words (between white space) w_0 .. w_{n-1}. Word i has a number u_i, uniform in [0, 1), and is touched at
`level` in [0, 1] if u_i < level: each with that probability, and what is touched at 0.1 is touched at 0.2, in the same
way. The numbers do not depend on the noise either: the words that are dropped are those that are mistyped elsewhere.

    typos           a letter becomes a neighbour on the keyboard
    characters      a letter is left out, put in, replaced, or changes places with the next (one edit: Damerau, 1964)
    misspellings    the word becomes what people have written for it; words that the table does not know stay
    drop            the word is left out; the one with the greatest u stays, so that a text is never empty
    swap            neighbours change places: words are paired, from the first or the second on, by chance; one u a pair
    shuffle         the touched words are put into a random order among their places; at 1 that is all of them

A word without a letter to change stays, so the share of words that really differ may be lower; it is recorded.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from leanformer.data.examples import Examples
from leanformer.data.randomness import Bits, random_bits, uniform
from leanformer.robustness.keyboard import NEIGHBOURS
from leanformer.spelling import suggest

LETTERS = "abcdefghijklmnopqrstuvwxyz"
TOUCH, WHERE, WHAT, HOW = range(4)
"""What a word's random numbers are for."""

T = TypeVar("T")
Misspellings = dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class Dice:
    """The random numbers of one text: which of the example's texts it is, and which example of the split."""

    seed: int
    example: int
    text: int = 0

    def bits(self, purpose: int, n: int) -> Bits:
        """Returns 64 bits per word, (n,)."""
        return random_bits(self.seed, self.example, self.text, purpose, np.arange(n))

    def touched(self, n: int, level: float) -> NDArray[np.bool_]:
        """Returns u < level, (n,)."""
        return self.uniform(n) < level

    def uniform(self, n: int) -> NDArray[np.floating]:
        """Returns u in [0, 1), (n,)."""
        return uniform(self.bits(TOUCH, n))


Noise = Callable[[list[str], float, Dice], list[str]]
"""(the words of a text, level, its random numbers) -> the words of the disturbed text"""


def drop(words: list[str], level: float, dice: Dice) -> list[str]:
    left_out = dice.touched(len(words), level)
    left_out[dice.uniform(len(words)).argmax()] = False
    return [word for word, gone in zip(words, left_out, strict=True) if not gone]


def swap(words: list[str], level: float, dice: Dice) -> list[str]:
    swapped, touched = list(words), dice.touched(len(words), level)
    second = len(words) > 2 and int(dice.bits(WHERE, 1)[0]) & 1
    for i in range(int(second), len(words) - 1, 2):
        if touched[i]:
            swapped[i], swapped[i + 1] = words[i + 1], words[i]
    return swapped


def shuffle(words: list[str], level: float, dice: Dice) -> list[str]:
    places = np.flatnonzero(dice.touched(len(words), level))
    order = places[np.argsort(dice.bits(WHERE, len(words))[places], kind="stable")]
    shuffled = list(words)
    for place, source in zip(places, order, strict=True):
        shuffled[place] = words[source]
    return shuffled


def typos(words: list[str], level: float, dice: Dice) -> list[str]:
    return _each(words, level, dice, _mistyped)


def characters(words: list[str], level: float, dice: Dice) -> list[str]:
    return _each(words, level, dice, _edited)


def misspellings(words: list[str], level: float, dice: Dice, *, known: Misspellings) -> list[str]:
    return _each(words, level, dice, partial(_misspelt, known))


NOISES: dict[str, Noise] = {
    "typos": typos,
    "characters": characters,
    "drop": drop,
    "swap": swap,
    "shuffle": shuffle,
}
MISSPELLINGS = "misspellings"


def noises(names: Sequence[str], known: Misspellings | None = None) -> dict[str, Noise]:
    """The noises called `names`. ValueError for an unknown name, and for misspellings without their table."""
    chosen: dict[str, Noise] = {}
    for name in names:
        if name == MISSPELLINGS and known is None:
            raise ValueError(f"the noise {name} needs a table of them: give --misspellings FILE")
        if name not in (*NOISES, MISSPELLINGS):
            raise ValueError(f"unknown noise {name!r}: {suggest(name, [*NOISES, MISSPELLINGS])}")
        chosen[name] = NOISES[name] if name in NOISES else partial(misspellings, known=known or {})
    return chosen


def disturbed(examples: Examples, noise: Noise, level: float, seed: int) -> tuple[Examples, float]:
    """Returns (the examples with noise in all their texts, the share of words that differ). A text that is touched has
    single spaces between its words. Raises ValueError for a level outside [0, 1]."""
    require_share("level", level)
    texts, changed, total = [], 0, 0
    for number, row in enumerate(examples.texts):
        disturbed_row = []
        for place, text in enumerate(row):
            before = text.split()
            after = noise(before, level, Dice(seed, number, place)) if before else before
            changed, total = changed + differing(before, after), total + len(before)
            disturbed_row.append(text if after == before else " ".join(after))
        texts.append(tuple(disturbed_row))
    return examples._replace(texts=texts), changed / max(total, 1)


def differing(before: list[str], after: list[str]) -> int:
    """How many of the words are gone, or are not what they were in their place."""
    if len(after) < len(before):
        return len(before) - len(after)
    return sum(old != new for old, new in zip(before, after, strict=True))


def require_share(name: str, share: float) -> None:
    if not 0 <= share <= 1:
        raise ValueError(f"{name} {share:g} is not a share: give numbers from 0 to 1")


def choose(bits: int, options: Sequence[T]) -> T:
    """Returns one of the options, uniformly, by the low half of the bits."""
    return options[(bits & 0xFFFFFFFF) * len(options) >> 32]


def _each(words: list[str], level: float, dice: Dice, change: Callable[[str, int, int, int], str]) -> list[str]:
    n = len(words)
    where, what, how = (dice.bits(purpose, n).tolist() for purpose in (WHERE, WHAT, HOW))
    touched = dice.touched(n, level)
    return [change(word, where[i], what[i], how[i]) if touched[i] else word for i, word in enumerate(words)]


def _mistyped(word: str, where: int, what: int, how: int) -> str:
    places = [i for i, letter in enumerate(word) if letter.lower() in NEIGHBOURS]
    if not places:
        return word
    i = choose(where, places)
    key = choose(what, NEIGHBOURS[word[i].lower()])
    return word[:i] + _cased(key, word[i]) + word[i + 1 :]


def _edited(word: str, where: int, what: int, how: int) -> str:
    places = [i for i, letter in enumerate(word) if letter.isalpha()]
    if not places:
        return word
    i = choose(where, places)
    unequal = [k for k in range(len(word) - 1) if word[k] != word[k + 1]]
    edit = choose(
        how, ["put in", "replaced", *(["left out"] if len(word) > 1 else []), *(["swapped"] if unequal else [])]
    )
    if edit == "left out":
        return word[:i] + word[i + 1 :]
    if edit == "swapped":
        k = choose(where, unequal)
        return word[:k] + word[k + 1] + word[k] + word[k + 2 :]
    letter = choose(what, LETTERS.replace(word[i].lower(), "") if edit == "replaced" else LETTERS)
    return word[:i] + _cased(letter, word[i]) + word[i + (edit == "replaced") :]


def _misspelt(known: Misspellings, word: str, where: int, what: int, how: int) -> str:
    """Returns a misspelling; punctuation around the word stays, and so does its capital."""
    match = re.fullmatch(r"([\W_]*)(.*?)([\W_]*)", word, re.DOTALL)
    assert match is not None
    before, core, after = match.groups()
    if core in known:
        return before + choose(what, known[core]) + after
    if core.lower() not in known:
        return word
    wrong = choose(what, known[core.lower()])
    return before + _cased(wrong[0], core[0]) + wrong[1:] + after


def _cased(letter: str, like: str) -> str:
    return letter.upper() if like.isupper() else letter
