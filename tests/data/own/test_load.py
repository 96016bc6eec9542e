"""Labelled files as tasks: every kind in every format, and one line for everything that is wrong with them."""

import json

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

from leanformer.data.own.load import OwnFiles, load, read_more
from leanformer.data.tasks import Task


def table(path, rows):
    """Write the rows in the format of the path's suffix."""
    if path.suffix == ".parquet":
        parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    else:
        separator = {".csv": ",", ".tsv": "\t"}[path.suffix]
        lines = [list(rows[0]), *(map(str, row.values()) for row in rows)]
        path.write_text("".join(separator.join(line) + "\n" for line in lines), encoding="utf-8")
    return path


REVIEWS = [{"review": f"text {i}", "category": ("good", "bad", "fair")[i % 3]} for i in range(60)]


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_single(tmp_path, suffix):
    path = table(tmp_path / f"reviews{suffix}", REVIEWS)
    own = load(OwnFiles(path, ("review",), ("category",), split_seed=3))
    assert own.task.name == "reviews"
    assert own.task.kind == "classification"
    assert own.task.labels == ("bad", "fair", "good")
    assert (own.task.metrics, own.task.also) == (("accuracy",), ("macro_f1",))
    assert len(own.train.texts) == 45
    assert len(own.validation.texts) == 15
    names = dict(zip((row["review"] for row in REVIEWS), (row["category"] for row in REVIEWS), strict=True))
    for part in (own.train, own.validation):
        assert [names[text] for (text,) in part.texts] == [own.task.labels[label] for label in part.labels]
    assert own.record["split_seed"] == 3
    assert own.record["labels"]["train"] == {"bad": 15, "fair": 15, "good": 15}
    assert own.notes == [
        f"reviews{suffix} is a task of the kind single, since category holds 3 different names (--kind gives another "
        "one)",
        f"reviews{suffix}: 45 rows are for training and 15 for validation, by a hash of their texts and the seed 3 "
        "(--split-seed)",
    ]
    assert Task.of_dict(json.loads(json.dumps(own.task.to_dict()))) == own.task


def test_numbers_as_classes_are_in_their_order(tmp_path):
    path = table(tmp_path / "stars.csv", [{"text": f"t{i}", "label": (10, 9, 2)[i % 3]} for i in range(60)])
    assert load(OwnFiles(path)).task.labels == ("2", "9", "10")


def test_several_labels(tmp_path):
    rows = [{"text": f"t{i}", "tags": [["a"], ["b", "a"], []][i % 3]} for i in range(60)]
    own = load(OwnFiles(table(tmp_path / "x.jsonl", rows), ("text",), ("tags",)))
    assert own.task.kind == "multi_label"
    assert own.record["labels"] == {"train": {"a": 30, "b": 15}, "validation": {"a": 10, "b": 5}}
    by_text = {text: label.tolist() for (text,), label in zip(own.train.texts, own.train.labels, strict=True)}
    assert all(label == [[1, 0], [1, 1], [0, 0]][int(text[1:]) % 3] for text, label in by_text.items())

    columns = [{"text": row["text"], "a": int("a" in row["tags"]), "b": "b" in row["tags"]} for row in rows]
    other = load(OwnFiles(table(tmp_path / "y.csv", columns), label=("a", "b")))
    np.testing.assert_array_equal(other.train.labels, own.train.labels)

    cells = [{"text": row["text"], "label": "|".join(row["tags"])} for row in rows]
    other = load(OwnFiles(table(tmp_path / "z.csv", cells), kind="multi"))
    np.testing.assert_array_equal(other.train.labels, own.train.labels)


def test_regression(tmp_path):
    path = table(tmp_path / "prices.csv", [{"text": f"t{i}", "label": i % 40 / 8} for i in range(80)])
    own = load(OwnFiles(path))
    assert own.task.kind == "regression"
    assert own.task.standardised
    assert (own.task.metrics, own.task.also) == (("pearson",), ("spearman", "mae", "rmse"))
    assert {text: label * 8 for (text,), label in zip(own.train.texts, own.train.labels, strict=True)} == {
        text: int(text[1:]) % 40 for (text,) in own.train.texts
    }
    assert load(OwnFiles(path, kind="single")).task.kind == "classification"


def test_tokens_in_three_forms_are_the_same(tmp_path):
    sentences = [([f"w{i}", "Ada", "Byron", "in", "Rome"], ["O", "I-PER", "I-PER", "O", "I-LOC"]) for i in range(60)]
    (tmp_path / "a.conll").write_text(
        "".join("".join(f"{w} {t}\n" for w, t in zip(*pair, strict=True)) + "\n" for pair in sentences)
    )
    rows = [{"tokens": words, "tags": ["O", "B-PER", "E-PER", "O", "S-LOC"]} for words, _ in sentences]
    table(tmp_path / "b.jsonl", rows)
    spans = []
    for words, _ in sentences:
        text = " ".join(words)
        places = [("PER", text.index("Ada"), text.index(" in")), ("LOC", text.index("Rome"), len(text))]
        spans.append({"text": text, "spans": [{"start": a, "end": b, "label": name} for name, a, b in places]})
    table(tmp_path / "c.jsonl", spans)
    found = [load(OwnFiles(tmp_path / name)) for name in ("a.conll", "b.jsonl", "c.jsonl")]
    for own in found:
        assert own.task.labels == ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")
        assert own.task.metrics == ("entity_f1",)
        assert own.record["labels"]["validation"] == {"PER": 15, "LOC": 15}
        assert own.train.texts == found[0].train.texts
        assert own.train.labels.tolist() == found[0].train.labels.tolist()
    assert [own.task.columns for own in found] == [("text",), ("tokens",), ("text",)]
    assert [own.task.words for own in found] == ["coarse", "coarse", "fine"]


def test_parts_of_speech_are_scored_by_accuracy(tmp_path):
    (tmp_path / "pos.conll").write_text("".join(f"w{i} NOUN\nruns VERB\n\n" for i in range(40)))
    task = load(OwnFiles(tmp_path / "pos.conll")).task
    assert (task.labels, task.metrics, task.also) == (("NOUN", "VERB"), ("token_accuracy",), ())
    (tmp_path / "pos.conll").write_text("".join(f"w{i} NOUN\n( -LRB-\n\n" for i in range(40)))
    assert load(OwnFiles(tmp_path / "pos.conll")).task.labels == ("-LRB-", "NOUN")


def test_entities_without_prefixes_are_read_again_from_a_file_without_outside_words(tmp_path):
    (tmp_path / "io.conll").write_text("".join(f"w{i} LOC\nruns O\n\n" for i in range(40)))
    (tmp_path / "more.conll").write_text("Rome LOC\nParis LOC\n")
    own = load(OwnFiles(tmp_path / "io.conll"))
    more = read_more(own.task, own.record, tmp_path / "more.conll")
    assert own.task.labels == ("O", "B-LOC", "I-LOC") and more.labels[0]["tags"] == ["B-LOC", "I-LOC"]


def test_a_tag_without_a_prefix_is_named_with_its_place(tmp_path):
    for name, tag in (("a", "B-LOC"), ("b", "LOC")):
        (tmp_path / f"{name}.conll").write_text("".join(f"w{i} {tag}\nruns O\n\n" for i in range(40)))
    with pytest.raises(ValueError, match="b.conll, .*: tag 'LOC' has no prefix, but others have"):
        load(OwnFiles(tmp_path / "a.conll", validation=tmp_path / "b.conll"))


def test_questions_with_and_without_answers(tmp_path):
    contexts = [f"Ada {i} lives here." for i in range(40)]
    rows = [
        {"question": question, "context": context, "answers": {"text": text, "answer_start": [0] * len(text)}}
        for context in contexts
        for question, text in (("Who?", [context[:5]]), ("Why?", []))
    ]
    own = load(OwnFiles(table(tmp_path / "x.jsonl", rows)))
    assert own.task.kind == "span"
    assert own.task.unanswerable
    assert len(own.validation.texts) == 20
    sides = [{context for _, context in part.texts} for part in (own.train, own.validation)]
    assert not sides[0] & sides[1]  # the questions of a context stay together
    paragraphs = [
        {
            "context": row["context"],
            "qas": [row | {"answers": [{"text": t, "answer_start": 0} for t in row["answers"]["text"]]}],
        }
        for row in rows
    ]
    (tmp_path / "x.json").write_text(json.dumps({"data": [{"paragraphs": paragraphs}]}))
    other = load(OwnFiles(tmp_path / "x.json"))
    assert other.train.labels.tolist() == own.train.labels.tolist()


def test_files_for_validation_and_test(tmp_path):
    table(tmp_path / "a.csv", REVIEWS)
    table(tmp_path / "b.jsonl", [*REVIEWS[:2], {"review": "new", "category": "bad", "more": 1}])
    own = load(
        OwnFiles(tmp_path / "a.csv", ("review",), ("category",), None, tmp_path / "b.jsonl", tmp_path / "b.jsonl")
    )
    assert len(own.train.texts) == 60
    assert own.validation.texts == own.test.texts == [("text 0",), ("text 1",), ("new",)]
    assert own.record["split_seed"] is None
    assert own.notes[1] == (
        "2 of 3 validation rows have a text of training, too: their scores are better than those of new texts"
    )


def test_macro_f1_is_the_score_of_balanced_classes(tmp_path):
    path = table(tmp_path / "reviews.csv", REVIEWS)
    task = load(OwnFiles(path, ("review",), ("category",)), balanced=True).task
    assert (task.metrics, task.also) == (("macro_f1",), ("accuracy",))


WRONG = {
    "review,stars\na,1\n": (
        {"label": ("category",)},
        "has no column 'category' for --label: it has: review, stars",
    ),
    "review,stars\na,2\n": ({}, "which column is which? Name it with --text and --label; it has: review, stars"),
    "text,label\na,x\nb,\n": ({}, "line 3: the label is empty: fill it in or drop the row"),
    "text,label\na,x\n,y\n": ({}, "line 3: text: the text is empty: fill it in or drop the row"),
    "text,label\na,x\nb,x\n": ({}, "has one label or none ('x' alone): at least two are needed to learn a difference"),
    "text,label\na,x\n": ({"kind": "multy"}, "--kind multy: did you mean 'multi'?"),
    "text,label\na,1\nb,2\nc,3\nd,many\n": ({}, "label holds numbers, and words such as 'many'"),
    "text,label\na,1\nb,two\n": ({"kind": "regression"}, "line 3: label is 'two', not a number: mend the row"),
    "text,label\na,x\nb,y\n": (
        {},
        "has 2 rows (2 different texts, 2 kinds of labels), too few to divide: add rows, or give --validation FILE",
    ),
    "text,label\n": ({}, "holds no rows"),
    "text;label\na;x\n": ({}, "columns are separated by semicolons, not by commas"),
    "text,x,y\na,1,0\nb,maybe,1\n": ({"label": ("x", "y")}, "line 3: x is 'maybe', but one of several label columns"),
}


@pytest.mark.parametrize("text", WRONG)
def test_wrong_files(tmp_path, text):
    options, message = WRONG[text]
    path = tmp_path / "reviews.csv"
    path.write_text(text)
    with pytest.raises((ValueError, OSError)) as error:
        load(OwnFiles(path, **options))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_other_wrong_files(tmp_path):
    train = table(tmp_path / "a.csv", REVIEWS)
    other = table(tmp_path / "b.csv", [{"review": "x", "category": "awful"}])
    with pytest.raises(ValueError, match=r"b.csv, line 2: no training row has the label 'awful': add one, or drop"):
        load(OwnFiles(train, ("review",), ("category",), validation=other))
    with pytest.raises(FileNotFoundError, match="c.csv: no such file; give a file that ends in .jsonl"):
        load(OwnFiles(tmp_path / "c.csv"))
    with pytest.raises(FileNotFoundError, match=": a folder; give a file"):
        load(OwnFiles(tmp_path))
    (tmp_path / "a.xlsx").write_bytes(b"PK")
    with pytest.raises(ValueError, match="a.xlsx: labels are read from"):
        load(OwnFiles(tmp_path / "a.xlsx"))
    (tmp_path / "latin.csv").write_bytes("text,label\nschön,x\n".encode("latin1"))
    with pytest.raises(ValueError, match="latin.csv: not UTF-8 at byte 14, line 2"):
        load(OwnFiles(tmp_path / "latin.csv"))
    for row, message in (
        ({"tokens": ["a", "b"], "tags": ["O"]}, "line 1: 2 words, but 1 tags: one tag per word is expected"),
        ({"tokens": ["a"], "tags": [3]}, "line 1: tags holds 3, but a tag is a name"),
        ({"text": "a", "spans": [{"start": 0, "end": 2, "label": "X"}]}, "line 1: the span 0 to 2"),
        (
            {"question": "q", "context": "Ada", "answers": {"text": ["Eva"], "answer_start": [0]}},
            "'Eva' is not at char",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            load(OwnFiles(table(tmp_path / "row.jsonl", [row])))
