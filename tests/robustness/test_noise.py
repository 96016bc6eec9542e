"""Noise: what it does to a sentence, to the letter; how much it touches; that more of it contains less of it."""

import numpy as np
import pytest

from leanformer.data.examples import Examples
from leanformer.robustness.keyboard import NEIGHBOURS
from leanformer.robustness.misspellings import read_misspellings
from leanformer.robustness.noise import NOISES, Dice, disturbed, noises

SENTENCE = ["The", "plot", "is", "thin", ",", "but", "I", "believe", "every", "word", "of", "it", "!"]
KNOWN = {"believe": ("beleive", "belive"), "the": ("teh",), "word": ("wrod",)}
ALL = noises([*NOISES, "misspellings"], KNOWN)
IN_PLACE = [name for name in ALL if name not in ("drop", "swap", "shuffle")]


def noisy(name: str, level: float, words: list[str] = SENTENCE, example: int = 0, seed: int = 1) -> str:
    return " ".join(ALL[name](list(words), level, Dice(seed, example)))


def many(size: int) -> Examples:
    return Examples([(" ".join(f"word{i}" for i in range(31)), "a second text") for _ in range(size)], np.zeros(size))


@pytest.mark.parametrize(
    "name, level, expected",
    [
        ("typos", 0.2, "The llot is thin , but I believe every word og if !"),
        ("typos", 1, "Tge llot us tuin , buy K beloeve evdry worr og if !"),
        ("characters", 0.4, "Tlhe lpot is thin , but I beleve evzry word fo i !"),
        ("drop", 0.2, "The is thin , but I believe every word !"),
        ("drop", 1, "word"),
        ("swap", 0.2, "The is plot thin , but I believe every word of ! it"),
        ("swap", 1, "The is plot , thin I but every believe of word ! it"),
        ("shuffle", 0.4, "it believe is thin , but I plot of word every The !"),
        ("shuffle", 1, "but ! is it believe plot thin word , I of every The"),
        ("misspellings", 1, "Teh plot is thin , but I beleive every wrod of it !"),
    ],
)
def test_a_sentence_is_disturbed_in_this_way_forever(name, level, expected):
    """A change of these strings is a change of everybody's tests."""
    assert noisy(name, level) == expected


@pytest.mark.parametrize("name", ALL)
def test_at_level_0_a_text_is_as_it_was(name):
    spaced = Examples([("two  spaces\n", "")], np.zeros(1))
    assert disturbed(spaced, ALL[name], 0, 1) == (spaced, 0.0)
    assert noisy(name, 0) == " ".join(SENTENCE)


@pytest.mark.parametrize("name", [*IN_PLACE, "swap"])
def test_what_is_touched_at_a_level_is_touched_alike_at_a_higher_one(name):
    """Of `swap`: a word that has moved stays where it has moved to."""
    for example in range(20):
        texts = [noisy(name, level, example=example).split() for level in (0, 0.1, 0.2, 0.4, 1)]
        for less, more in zip(texts, texts[1:], strict=False):
            assert all(b == a for original, a, b in zip(SENTENCE, less, more, strict=True) if a != original)


def test_what_is_dropped_or_shuffled_at_a_level_is_so_at_a_higher_one():
    words = [str(i) for i in range(23)]
    for example in range(20):
        dropped = [set(words) - set(noisy("drop", level, words, example).split()) for level in (0.1, 0.3, 0.9)]
        assert dropped[0] <= dropped[1] <= dropped[2]
        for level in (0.2, 0.5):
            shuffled = noisy("shuffle", level, words, example).split()
            touched = Dice(1, example).touched(23, level)
            assert sorted(shuffled) == sorted(words)
            assert [w for w, t in zip(shuffled, touched, strict=True) if not t] == [
                w for w, t in zip(words, touched, strict=True) if not t
            ]


@pytest.mark.parametrize("level", [0.1, 0.4])
@pytest.mark.parametrize("name", ["typos", "characters", "drop", "swap"])
def test_the_share_of_words_is_the_level(name, level):
    """Of 13,600 words, in texts of 31 and 3; `swap` takes 30 and 2 of them in pairs, which doubles the variance."""
    _, share = disturbed(many(400), NOISES[name], level, 7)
    expected = level * (32 / 34 if name == "swap" else 1)
    assert abs(share - expected) < 4 * np.sqrt(2 * level * (1 - level) / 13_600)


def test_a_dropped_text_keeps_a_word_and_every_pair_of_texts_its_own_noise():
    alone, share = disturbed(Examples([("only", "a b c d e f g")] * 3, np.zeros(3)), NOISES["drop"], 1, 1)
    assert [row[0] for row in alone.texts] == ["only"] * 3 and share == pytest.approx(6 / 8)
    twice, _ = disturbed(Examples([("a b c d e f g h i j",) * 2] * 2, np.zeros(2)), NOISES["shuffle"], 1, 1)
    assert len({text for row in twice.texts for text in row}) == 4


def test_noise_is_a_function_of_seed_and_example():
    assert noisy("shuffle", 1) == noisy("shuffle", 1) != noisy("shuffle", 1, seed=2)
    assert noisy("shuffle", 1) != noisy("shuffle", 1, example=1)
    whole, _ = disturbed(many(5), NOISES["typos"], 0.4, 3)
    first, _ = disturbed(many(2), NOISES["typos"], 0.4, 3)
    assert whole.texts[:2] == first.texts


def test_a_typo_is_one_neighbouring_key():
    for example in range(50):
        for before, after in zip(SENTENCE, noisy("typos", 1, example=example).split(), strict=True):
            wrong = [(a, b) for a, b in zip(before, after, strict=True) if a != b]
            assert len(wrong) == any(letter.lower() in NEIGHBOURS for letter in before)
            assert all(b.lower() in NEIGHBOURS[a.lower()] and a.isupper() == b.isupper() for a, b in wrong)


def test_the_keyboard():
    assert NEIGHBOURS["a"] == "qwsz" and NEIGHBOURS["g"] == "tyfhvb" and NEIGHBOURS["p"] == "ol"
    assert all(a in NEIGHBOURS[b] for a in NEIGHBOURS for b in NEIGHBOURS[a])


def test_an_edit_is_one_edit():
    """By length and letters: one more, one fewer, one other, or two neighbours exchanged."""
    kinds = set()
    for example in range(200):
        (word,) = noisy("characters", 1, ["robust"], example).split()
        kinds.add(len(word) - 6 if sorted(word) != sorted("robust") else "exchanged")
        assert word != "robust"
        common = next((i for i in range(6) if word[i : i + 1] != "robust"[i]), 6)
        rest, ours = "robust"[common:], word[common:]
        swapped = rest[1:2] + rest[:1] + rest[2:]
        assert ours in (rest[1:], swapped) or ours[1:] in (rest, rest[1:])
    assert kinds == {-1, 0, 1, "exchanged"}
    assert all(noisy("characters", 1, ["a"], example) != "" for example in range(50))


def test_misspellings_keep_capitals_and_punctuation():
    assert noisy("misspellings", 1, ["(Word),", "WORD", "unknown", "--"]) == "(Wrod), Wrod unknown --"


def test_a_table_of_misspellings_is_read(tmp_path):
    file = tmp_path / "table.txt"
    file.write_text("believe beleive belive believe\n\nluck lock\nluck luke lock\n")
    assert read_misspellings(file) == {"believe": ("beleive", "belive"), "luck": ("lock", "luke")}


@pytest.mark.parametrize(
    "text, error",
    [(None, "no such file"), ("word wrod\nlonely\n", "line 2: 'lonely' has no misspelling"), ("\n", "is empty")],
)
def test_a_bad_table_is_an_error_of_one_line(tmp_path, text, error):
    file = tmp_path / "table.txt"
    if text is not None:
        file.write_text(text)
    with pytest.raises((ValueError, OSError), match=error) as caught:
        read_misspellings(file)
    assert str(file) in str(caught.value) and "\n" not in str(caught.value)


def test_unknown_noise_and_levels_are_refused():
    with pytest.raises(ValueError, match="unknown noise 'typo': did you mean 'typos'"):
        noises(["typo"])
    with pytest.raises(ValueError, match="give --misspellings FILE"):
        noises(["misspellings"])
    for level in (-0.1, 1.5, float("nan")):
        with pytest.raises(ValueError, match="give numbers from 0 to 1"):
            disturbed(many(1), NOISES["typos"], level, 1)
