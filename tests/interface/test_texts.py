"""What is taken for documents, what for files, and what is refused because it could be either."""

from pathlib import Path

import numpy as np
import pytest

from leanformer.data.in_memory import InMemory
from leanformer.data.readers import documents
from leanformer.data.rows import rows
from leanformer.interface.texts import sources


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a.txt").write_text("first\n\nsecond\n")
    Path("b.txt").write_text("third\n")
    Path("folder").mkdir()
    return tmp_path


def read(given, **options):
    return [text for source in sources(given, **options) for text in documents(source)]


def test_a_list_of_strings_is_a_list_of_documents():
    given = ["one document", "another\n\nwith a blank line", "x"]
    (source,) = sources(given)
    assert isinstance(source, InMemory) and str(source) == "3 texts in memory"
    assert read(given) == read(given) == given


@pytest.mark.parametrize("given", ["a.txt", Path("a.txt"), ["a.txt"], [Path("a.txt")], ("a.txt",)])
def test_names_of_files_are_read(here, given):
    assert read(given) == ["first", "second"]


def test_paths_and_names_of_files_may_be_mixed(here):
    assert read([Path("a.txt"), "b.txt"]) == ["first", "second", "third"]


def test_named_texts_are_sources():
    assert sources("shipped:novels") == ["shipped:novels"]
    assert sources(["hf:user/name", "shipped:novels"]) == ["hf:user/name", "shipped:novels"]


def test_a_column_is_always_texts(here):
    pandas = pytest.importorskip("pandas")
    datasets = pytest.importorskip("datasets")
    column = pandas.Series(["a.txt", "a sentence"])
    assert read(column) == ["a.txt", "a sentence"]
    frame = pandas.DataFrame({"text": ["u", "v"], "id": [1, 2]})
    assert read(frame) == ["u", "v"]
    assert read(datasets.Dataset.from_pandas(frame)) == ["u", "v"]
    assert read(datasets.Dataset.from_pandas(frame).to_iterable_dataset()) == ["u", "v"]
    assert read(np.array(["u", "a.txt"])) == ["u", "a.txt"]


def test_rows_have_a_text_for_every_column():
    for given in ([("p", "q")], [{"left": "p", "right": "q", "more": 3}]):
        ((_, row),) = rows(sources(given, rows=True), ("left", "right"))
        assert row == {"left": "p", "right": "q"}
    with pytest.raises(ValueError, match=r"number 1: 1 texts, not \(left, right\): give one text per column"):
        list(rows(sources(["p"], rows=True), ("left", "right")))


REFUSED = [
    ("no such file.txt", FileNotFoundError, r"a single string names a file, .* goes into a list, texts=\[...\]"),
    ("", FileNotFoundError, "a single string names a file"),
    (["a.txt", "a sentence"], ValueError, "mixes 'a.txt', which names a source, with 'a sentence'"),
    ([Path("a.txt"), "a sentence"], ValueError, "give paths alone, or texts alone"),
    (["folder", "a word"], ValueError, "mixes 'folder'"),
    (["missing.txt"], FileNotFoundError, "looks like a file, and there is none"),
    (["words", "missing.jsonl.xz"], FileNotFoundError, "'missing.jsonl.xz' looks like a file"),
    ([], ValueError, "texts is empty"),
    (["fine", 3], ValueError, "number 2: it is int, neither a text nor a path"),
    (["fine", None], ValueError, "number 2: it is NoneType"),
    ([["nested"]], ValueError, "number 1: it is list"),
    (b"bytes", ValueError, "texts is a bytes"),
    (7, ValueError, "texts is a int"),
    (None, ValueError, "texts is a NoneType"),
    ((text for text in "ab"), ValueError, "texts is a generator"),
    ({"train": ["a"]}, ValueError, "texts is a dict: name one of its splits"),
]


@pytest.mark.parametrize("given, error, message", REFUSED, ids=range(len(REFUSED)))
def test_what_could_mean_two_things_is_refused_in_one_line(here, given, error, message):
    with pytest.raises(error, match=message) as raised:
        sources(given)
    assert "\n" not in str(raised.value)


def test_a_place_in_memory_is_named():
    with pytest.raises(ValueError, match="2 texts in memory, number 2: it is float, not text"):
        read(__import__("pandas").Series(["a", float("nan")], dtype=object))


def test_a_dash_is_a_text_and_as_a_path_standard_input():
    assert read(["-"]) == ["-"]
    assert sources(Path("-")) == [Path("-")]
    with pytest.raises(FileNotFoundError, match="a single string names a file"):
        sources("-")


def test_half_a_surrogate_pair_is_replaced_as_in_files():
    """Whatever holds it: a text, a tuple, a table; whole pairs stay."""
    half, whole = "a \ud83d b", "a \U0001f600 b"
    assert read([half, whole]) == ["a \ufffd b", whole]
    for row in ({"text": half, "other": 3}, (half,), half):
        found = [row["text"] for _, row in rows([InMemory([row], "here")], ("text",))]
        assert found == ["a \ufffd b"]
