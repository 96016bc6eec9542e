"""Documents in memory become the same tokens as documents in a file."""

import pytest

import leanformer as lf


@pytest.fixture(scope="module")
def lines(text):
    return [line for line in text.splitlines() if line.strip()][:400]


def test_a_list_of_documents_is_tokenized_as_their_file_is(lines, tmp_path):
    (tmp_path / "lines.txt").write_text("\n".join(lines), encoding="utf-8")
    how = {"algorithm": "characters", "quiet": True}
    held = lf.prepare(lines, out=tmp_path / "held", **how)
    filed = lf.prepare(tmp_path / "lines.txt", out=tmp_path / "filed", documents="lines", **how)
    assert held.record["hash"] == filed.record["hash"] and held.record["splits"] == filed.record["splits"]
    assert held.record["sources"] == [f"{len(lines)} texts in memory"]
    assert repr(held).startswith(f"Data({str(held.path)!r}): train ") and lf.Data(held.path).record == held.record


def test_a_table_gives_its_column_and_texts_to_test_on(lines, tmp_path):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"line": lines, "number": range(len(lines))})
    how = {"algorithm": "characters", "quiet": True}
    data = lf.prepare(frame, text="line", out=tmp_path / "data", test=lines[:100], test_on={"more": lines[:90]}, **how)
    assert set(data.record["splits"]) == {"train", "valid", "test", "more"}
    with pytest.raises(ValueError, match="no field 'text'; name another one with --field .*known: line, number"):
        lf.prepare(frame, out=tmp_path / "other", **how)
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"texts": []}, "texts is empty"),
        ({"texts": None}, "no text to prepare"),
        ({"texts": ["a b c"]}, "1 text in memory: too little text"),
        ({"texts": ["a"] * 99, "valid": ["missing.txt"]}, "valid: 'missing.txt' looks like a file"),
        ({"texts": ["a"], "test_on": {"x": 3}}, r"test_on\['x'\] is a int"),
        ({"texts": ["a"], "tokenizer": "t.json", "cased": True}, "--cased: --tokenizer t.json is as it was trained"),
        ({"texts": ["a"], "task": "multi30k_ende", "task_data": "d"}, "neither TEXT, --valid"),
        ({"texts": ["a" * 999], "algorithm": "character"}, "did you mean 'characters'"),
    ],
)
def test_what_cannot_be_prepared_is_refused_and_leaves_nothing(arguments, message, tmp_path):
    with pytest.raises((ValueError, OSError), match=message):
        lf.prepare(**arguments, out=tmp_path / "data", quiet=True)
    assert not list(tmp_path.iterdir())


def test_what_is_there_is_not_replaced(data):
    with pytest.raises(FileExistsError):
        lf.prepare(["a text"] * 200, out=data, quiet=True)


def test_texts_are_not_taken_for_prepared_data(tmp_path):
    with pytest.raises(ValueError, match=r"data is a list, not prepared: data = leanformer.prepare\(texts"):
        lf.pretrain(["a text"], out=tmp_path / "run")
    with pytest.raises(FileNotFoundError, match="no such data directory"):
        lf.Data(tmp_path / "nowhere")
