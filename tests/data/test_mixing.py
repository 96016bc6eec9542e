"""The shares of a mixture hold at every document, and it ends with the text that is used up."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import leanformer as lf
from leanformer.data.mixing import Mixture
from leanformer.data.prepare import prepare


def mixed(mixture: Mixture) -> list[str]:
    return list(mixture.documents(_read, "reading"))


def _read(sources: list[list[str]], title: str) -> Iterator[str]:
    return (document for source in sources for document in source)


def test_shares_hold_at_every_document():
    weights = {"web": 7, "books": 3}
    mixture = Mixture(weights, {"web": [["w" * 5] * 1000], "books": [["b" * 11] * 1000]})
    assert mixture.weights == {"web": 0.7, "books": 0.3}
    taken = {"w": 0, "b": 0}
    for document in mixed(mixture):
        taken[document[0]] += len(document)
        assert abs(taken["w"] - 0.7 * sum(taken.values())) <= 11
    # web is used up first: its 5,000 characters are 70 %
    assert mixture.taken["ended_by"] == "web" and mixture.taken["web"] == {"characters": 5000, "documents": 1000}
    assert mixture.taken["books"]["characters"] == pytest.approx(5000 * 3 / 7, abs=11)


def test_a_mixture_is_the_same_every_time():
    given = {"a": [["1", "22", "333"] * 50], "b": [["4444"] * 50]}
    weights = {"a": 0.5, "b": 0.5}
    assert mixed(Mixture(weights, given)) == mixed(Mixture(weights, given))
    assert mixed(Mixture(weights, given))[:3] == ["1", "4444", "22"]


@pytest.mark.parametrize(
    ("weights", "texts", "message"),
    [
        ({"a": 1.0}, ["a.txt"], "--mix needs texts with names, a=TEXT"),
        ({"a": 1.0, "b": 1.0}, {"a": ["x"]}, "'b' has no text"),
        ({"a": 1.0}, {"a": ["x"], "b": ["y"]}, "'b' has no weight"),
        ({"a": 0.0}, {"a": ["x"]}, "--mix a=0: a weight must be positive"),
        ({"a": float("nan")}, {"a": ["x"]}, "a weight must be positive"),
    ],
)
def test_what_does_not_fit_is_refused(weights, texts, message):
    with pytest.raises(ValueError, match=message):
        Mixture(weights, texts)


def test_the_command_and_the_function_make_the_same_data(text: str, tmp_path: Path, command):
    for name in ("web", "books"):
        (tmp_path / f"{name}.txt").write_text(f"{name}\n\n{text}", encoding="utf-8")
    how = ("--vocab-size", "300", "--mix", "web=0.7,books=0.3", "--quiet")
    web, books = tmp_path / "web.txt", tmp_path / "books.txt"
    status, _, err = command("prepare", f"web={web}", f"books={books}", "--out", tmp_path / "one", *how)
    assert status == 0, err
    shares = {"web": 0.7, "books": 0.3}
    made = lf.prepare({"web": web, "books": [books]}, out=tmp_path / "two", mix=shares, vocab_size=300, quiet=True)
    one = lf.Data(tmp_path / "one").record
    assert made.record["hash"] == one["hash"]
    taken = one["mixture"]
    assert one["settings"]["mix"] == shares and set(taken) == {"web", "books", "ended_by"}
    assert taken["web"]["characters"] > 1.5 * taken["books"]["characters"]


def test_names_without_weights_are_refused(tmp_path: Path, command):
    with pytest.raises(ValueError, match="texts are named, which only a mixture needs"):
        prepare({"web": "shipped:novels"}, tmp_path / "data")
    status, _, err = command("prepare", "web=a.txt", "--mix", "web:0.7", "--out", tmp_path / "data")
    assert status == 2 and "write NAME=SHARE,NAME=SHARE" in err
