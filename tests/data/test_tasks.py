"""The task table and the reading of labelled examples."""

import bz2
import csv
import gzip
import json
import lzma
from pathlib import Path

import datasets
import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from leanformer.data import tasks
from leanformer.data.examples import Examples, load
from leanformer.data.tasks import Task, register_task, task

HERE = Path(__file__).parent
PAIR = Task("pair", ("premise", "hypothesis"), ("no", "yes"))
ROWS = [
    {"premise": 'a "lone quote', "hypothesis": "b", "label": 1, "idx": 5},
    {"premise": "é, with a comma", "hypothesis": "", "label": 0, "idx": 3},
    {"premise": "e", "hypothesis": 'f "', "label": 1, "idx": 1},
]
GLUE = {  # columns, labels in order, metrics, validation splits: as published, written out again
    "cola": ("sentence", "unacceptable acceptable", "matthews", "validation"),
    "sst2": ("sentence", "negative positive", "accuracy", "validation"),
    "mrpc": ("sentence1 sentence2", "not_equivalent equivalent", "accuracy f1", "validation"),
    "stsb": ("sentence1 sentence2", "", "pearson spearman", "validation"),
    "qqp": ("question1 question2", "not_duplicate duplicate", "accuracy f1", "validation"),
    "mnli": ("premise hypothesis", "entailment neutral contradiction", "accuracy", "matched mismatched"),
    "qnli": ("question sentence", "entailment not_entailment", "accuracy", "validation"),
    "rte": ("sentence1 sentence2", "entailment not_entailment", "accuracy", "validation"),
    "wnli": ("sentence1 sentence2", "not_entailment entailment", "accuracy", "validation"),
}


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is forgotten after it."""
    monkeypatch.setattr(tasks, "_TASKS", dict(tasks._TASKS))


def write(folder: Path, name: str, rows: list[dict]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    opener = {".xz": lzma.open, ".gz": gzip.open, ".bz2": bz2.open}.get(path.suffix, open)
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
        return path
    with opener(path, "wt", encoding="utf-8", newline="") as file:
        if ".jsonl" in name:
            file.writelines(json.dumps(row) + "\n" for row in rows)
        elif ".csv" in name:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        else:
            file.writelines("\t".join(map(str, row)) + "\n" for row in [rows[0].keys(), *(r.values() for r in rows)])
    return path


def load_rows(folder: Path, rows: list[dict], of: Task = PAIR) -> Examples:
    write(folder / of.name, "train.jsonl", rows)
    write(folder / of.name, "validation.jsonl", ROWS)
    return load(of, folder)[0]


# --- the table


def test_the_table_begins_with_the_nine_tasks_of_glue():
    assert tasks.names()[:9] == list(GLUE)


@pytest.mark.parametrize("name", GLUE)
def test_columns_labels_metrics_and_splits_are_the_published_ones(name: str, tmp_path: Path):
    columns, labels, metrics, splits = (text.split() for text in GLUE[name])
    splits = [split if split == "validation" else f"validation_{split}" for split in splits]
    values = range(len(labels)) if labels else [0.0, 2.6, 5.0]
    for split in ["train", "test", *splits]:
        rows = [{c: f"{c} {split} {v}" for c in columns} | {"label": v, "idx": 0} for v in values]
        write(tmp_path / name, f"{split}.jsonl", rows)

    train, validation = load(task(name), tmp_path)

    assert train.texts == [tuple(f"{c} train {v}" for c in columns) for v in values]
    assert train.labels.tolist() == list(values)
    assert train.labels.dtype == (np.int64 if labels else np.float64)
    assert list(validation) == splits
    assert [e.texts[0][0] for e in validation.values()] == [f"{columns[0]} {split} {values[0]}" for split in splits]
    assert (task(name).labels, task(name).metrics) == (tuple(labels), tuple(metrics))
    assert task(name).hub == ("nyu-mll/glue", name)


def test_another_task_takes_a_three_line_entry(registry: None, tmp_path: Path):
    register_task(Task("reviews", columns=("text",), labels=("neg", "pos"), metrics=("accuracy",)))
    write(tmp_path / "reviews", "train.jsonl", [{"text": "good", "label": "pos"}, {"text": "bad", "label": "neg"}])
    write(tmp_path / "reviews", "validation.jsonl", [{"text": "fine", "label": 1}])
    train, validation = load(task("reviews"), tmp_path)
    assert train.texts == [("good",), ("bad",)]
    assert train.labels.tolist() == [1, 0]
    assert validation["validation"].labels.tolist() == [1]


def test_registering_twice_is_fine_but_not_with_another_meaning(registry: None):
    register_task(PAIR)
    register_task(PAIR)
    with pytest.raises(ValueError, match="'pair' is registered already"):
        register_task(Task("pair", ("text",), ("no", "yes")))


def test_an_unknown_task_names_the_nearest():
    with pytest.raises(ValueError, match="unknown task 'sst-2': did you mean 'sst2'"):
        task("sst-2")


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (dict(columns=("a", "b", "c"), labels=("x", "y")), "one text or a pair"),
        (dict(columns=("a",), labels=("x",)), "two or more different names"),
        (dict(columns=("a",), labels=("x", "x")), "two or more different names"),
        (dict(columns=("a",), labels=("x", "y"), metrics=("acuracy",)), "did you mean 'accuracy'"),
        (dict(columns=("a",), metrics=("accuracy",)), "unknown metric 'accuracy' of a regression"),
        (dict(columns=("a",), labels=("x", "y", "z"), metrics=("f1",)), "f1 needs two labels"),
        (dict(columns=("a",), labels=("x", "y"), metrics=()), "metrics are missing"),
        (dict(columns=("a",), kind="spam"), "unknown kind 'spam': did you mean 'span'"),
        (dict(columns=("a", "b"), kind="span", labels=("x", "y")), "a span has no labels"),
        (dict(columns=("a",), kind="span", metrics=("token_f1",)), "a question and its context"),
        (dict(columns=("a", "b", "c"), kind="classification"), "one text or a pair"),
        (dict(columns=("a",), kind="classification"), "a classification needs labels"),
        (dict(columns=("a", "b"), kind="multiple_choice", labels=("x", "y")), "a text, then one column per choice"),
        (dict(columns=("a",), labels=("x", "y"), metrics=("em",)), "em needs two labels, and the columns of a group"),
        (dict(columns=("a",), labels=("x", "y"), group=("b",)), "group = .*: some of the columns"),
        (dict(columns=("a",), labels=("x", "y"), held_out=1.0), "held_out lies between 0 and 1"),
        (dict(columns=("a",), labels=("x", "y"), held_out=0.5, validation=("a", "b")), "of one validation split"),
    ],
)
def test_a_wrong_entry_says_what_is_wrong(entry: dict, message: str):
    with pytest.raises(ValueError, match=f"task 'mine': .*{message}"):
        Task("mine", **entry)


# --- reading


@pytest.mark.parametrize(
    "ending",
    [
        ".jsonl",
        ".jsonl.xz",
        ".jsonl.gz",
        ".csv",
        ".csv.xz",
        ".csv.gz",
        ".tsv",
        ".tsv.xz",
        ".tsv.gz",
        ".tsv.bz2",
        ".parquet",
    ],
)
def test_every_format_gives_the_same_examples(ending: str, tmp_path: Path):
    for split in ("train", "validation"):
        write(tmp_path / "pair", split + ending, ROWS)
    train, validation = load(PAIR, tmp_path)
    assert train.texts == [('a "lone quote', "b"), ("é, with a comma", ""), ("e", 'f "')]
    assert train.labels.tolist() == [1, 0, 1]
    assert train.hash == validation["validation"].hash
    assert train.hash == load_rows(tmp_path / "jsonl", ROWS).hash


def test_a_lone_quotation_mark_in_tsv_swallows_no_rows(tmp_path: Path):
    rows = [{"premise": '"' * (i % 3), "hypothesis": f"h{i}", "label": i % 2} for i in range(31)]
    write(tmp_path / "pair", "train.tsv", rows)
    write(tmp_path / "pair", "validation.tsv", rows)
    assert len(load(PAIR, tmp_path)[0].texts) == 31


def test_unofficial_splits_are_never_read(tmp_path: Path):
    rows = [{"premise": "p", "hypothesis": "h", "label": 0}]
    for split in ("train", "validation_matched"):
        write(tmp_path / "mnli", f"{split}.jsonl.xz", rows)
    for split in ("validation_matched_rest_label1", "validation_mismatched_label1"):  # labels that are not gold
        (tmp_path / "mnli" / f"{split}.jsonl.xz").write_bytes(b"an error to whoever reads it")
    assert list(load(task("mnli"), tmp_path)[1]) == ["validation_matched"]
    (tmp_path / "mnli" / "validation_matched.jsonl.xz").unlink()
    with pytest.raises(FileNotFoundError, match="validation_matched or .*validation_mismatched with ending"):
        load(task("mnli"), tmp_path)


def test_the_shipped_wnli_is_whole():
    train, validation = load(task("wnli"), HERE / "glue")
    assert (len(train.texts), len(validation["validation"].texts)) == (635, 71)
    assert np.bincount(train.labels).tolist() == [323, 312]
    assert np.bincount(validation["validation"].labels).tolist() == [40, 31]
    assert train.texts[0][1] == "The carrot had a hole."
    assert train.labels[0] == 1


def test_a_subset_is_always_the_same_and_keeps_the_order(tmp_path: Path):
    rows = [{"premise": str(i), "hypothesis": "h", "label": i % 2} for i in range(101)]
    examples = load_rows(tmp_path, rows)
    chosen = [int(text) for text, _ in examples.subset(17).texts]
    assert chosen == sorted(set(chosen)) and len(chosen) == 17
    assert chosen != list(range(17))
    assert examples.subset(17).labels.tolist() == [i % 2 for i in chosen]
    assert examples.subset(17).hash == examples.subset(17).hash != examples.hash
    assert examples.subset(None) is examples.subset(101) is examples


def test_numbers_that_are_label_names_are_names(tmp_path: Path):
    stars = Task("stars", ("text",), ("1", "2", "3"))
    write(tmp_path / "stars", "train.csv", [{"text": "a", "label": 3}, {"text": "b", "label": 1}])
    write(tmp_path / "stars", "validation.jsonl", [{"text": "a", "label": 3}, {"text": "b", "label": "1"}])
    train, validation = load(stars, tmp_path)
    assert train.labels.tolist() == validation["validation"].labels.tolist() == [2, 0]


def test_the_hub_is_read_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """`load_dataset("nyu-mll/glue", "sst2")` finds a folder of that name before it asks the network."""
    mirror = tmp_path / "nyu-mll" / "glue"
    features = datasets.Features(sentence=datasets.Value("string"), label=datasets.ClassLabel(names=["neg", "pos"]))
    for split, label in (("train", 1), ("validation", 0), ("test", -1)):
        rows = datasets.Dataset.from_dict({"sentence": [f"a {split} row"], "label": [label]}, features=features)
        rows.to_parquet(mirror / "sst2" / f"{split}-00000-of-00001.parquet")
    files = "\n".join(f"  - split: {s}\n    path: sst2/{s}-*" for s in ("train", "validation", "test"))
    (mirror / "README.md").write_text(f"---\nconfigs:\n- config_name: sst2\n  data_files:\n{files}\n---\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")

    train, validation = load(task("sst2"), "hub")
    assert (train.texts, train.labels.tolist()) == ([("a train row",)], [1])
    assert (validation["validation"].texts, validation["validation"].labels.tolist()) == ([("a validation row",)], [0])

    hidden = Task("hidden", ("sentence",), ("neg", "pos"), validation=("test",), hub=task("sst2").hub)
    with pytest.raises(ValueError, match="nyu-mll/glue/sst2 test, row 1: label -1 .* hidden label"):
        load(hidden, "hub")
    absent = Task("absent", ("sentence",), ("neg", "pos"), validation=("dev",), hub=task("sst2").hub)
    with pytest.raises(FileNotFoundError, match="nyu-mll/glue/sst2 has no split dev"):
        load(absent, "hub")


# --- bad input


def test_a_missing_folder_says_what_was_looked_for(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=r"no file .*nowhere/rte/train with ending \.jsonl"):
        load(task("rte"), tmp_path / "nowhere")


def test_a_missing_split_says_what_was_looked_for(tmp_path: Path):
    write(tmp_path / "mnli", "train.jsonl", [{"premise": "p", "hypothesis": "h", "label": 0}])
    with pytest.raises(FileNotFoundError, match=r"mnli/validation_matched or .*mnli/validation_mismatched with ending"):
        load(task("mnli"), tmp_path)


def test_two_files_of_one_split_are_refused(tmp_path: Path):
    write(tmp_path / "pair", "train.tsv", ROWS)
    with pytest.raises(ValueError, match=r"holds train\.jsonl and train\.tsv: keep one of them"):
        load_rows(tmp_path, ROWS)


@pytest.mark.parametrize("name", ["train.jsonl", "train.csv", "train.tsv", "train.jsonl.xz"])
def test_an_empty_file_is_refused(name: str, tmp_path: Path):
    write(tmp_path / "pair", name, ROWS).write_bytes(b"")
    write(tmp_path / "pair", "validation.jsonl", ROWS)
    with pytest.raises(ValueError, match=r"train\.\S*( is empty|: truncated)"):
        load(PAIR, tmp_path)


@pytest.mark.parametrize("ending", [".jsonl", ".jsonl.xz", ".jsonl.gz", ".csv", ".csv.xz", ".tsv", ".parquet"])
def test_a_truncated_file_is_refused(ending: str, tmp_path: Path):
    path = write(tmp_path / "pair", "train" + ending, ROWS)
    write(tmp_path / "pair", "validation.jsonl", ROWS)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) - 9])
    with pytest.raises(ValueError, match=rf"train{ending}(, line [34]|: (truncated|damaged|not CSV))"):
        load(PAIR, tmp_path)


@pytest.mark.parametrize("ending", [".jsonl", ".jsonl.xz", ".jsonl.gz", ".csv", ".tsv", ".parquet"])
def test_a_file_of_something_else_is_refused(ending: str, tmp_path: Path):
    write(tmp_path / "pair", "train" + ending, ROWS).write_bytes(bytes(range(256)) * 3)
    write(tmp_path / "pair", "validation.jsonl", ROWS)
    with pytest.raises(ValueError, match=rf"train{ending}: (damaged|binary|not UTF-8)"):
        load(PAIR, tmp_path)


def test_a_file_in_another_encoding_is_refused(tmp_path: Path):
    path = write(tmp_path / "pair", "train.csv", ROWS)
    path.write_bytes(path.read_text(encoding="utf-8").encode("latin-1"))
    write(tmp_path / "pair", "validation.jsonl", ROWS)
    with pytest.raises(ValueError, match=r"train\.csv: not UTF-8 at byte .*, line 3"):
        load(PAIR, tmp_path)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"premise": "p", "label": 1}, "line 4: no column 'hypothesis'; it has: premise, label"),
        ({"premise": "p", "hypothesis": "h"}, "line 4: no column 'label'; it has: premise, hypothesis"),
        ({"premise": "p", "hypothesis": None, "label": 1}, "line 4: hypothesis is empty"),
        ({"premise": "p", "hypothesis": "h", "label": 2}, "line 4: label 2 is not of pair: no, yes"),
        ({"premise": "p", "hypothesis": "h", "label": "maybe"}, "line 4: label 'maybe' is not of pair"),
        ({"premise": "p", "hypothesis": "h", "label": -1}, "line 4: label -1 .* hidden label"),
        ({"premise": "p", "hypothesis": "h", "label": 0.5}, "line 4: label 0.5 is not of pair"),
    ],
)
def test_a_wrong_row_is_named(row: dict, message: str, tmp_path: Path):
    with pytest.raises(ValueError, match=rf"train\.jsonl, {message}"):
        load_rows(tmp_path, [*ROWS, row])


@pytest.mark.parametrize("value", [5.1, -0.1, "high", None, float("nan"), [3]])
def test_a_number_outside_the_range_is_named(value: object, tmp_path: Path):
    similarity = task("stsb")
    write(tmp_path / "stsb", "train.jsonl", [{"sentence1": "a", "sentence2": "b", "label": value}])
    write(tmp_path / "stsb", "validation.jsonl", [{"sentence1": "a", "sentence2": "b", "label": 1}])
    with pytest.raises(ValueError, match=r"train\.jsonl, line 1: (label .* from 0.0 to 5.0|label is empty)"):
        load(similarity, tmp_path)


def test_a_line_that_is_no_json_object_is_named(tmp_path: Path):
    write(tmp_path / "pair", "validation.jsonl", ROWS)
    path = write(tmp_path / "pair", "train.jsonl", ROWS)
    path.write_text(path.read_text() + "\n[1, 2]\n")
    with pytest.raises(ValueError, match=r"train\.jsonl, line 5: a JSON object is expected, not list"):
        load(PAIR, tmp_path)


def test_a_task_without_a_hub_entry_says_so():
    with pytest.raises(ValueError, match="'pair' names no data set of the hub"):
        load(PAIR, "hub")


def test_a_hub_that_cannot_be_reached_is_one_line(monkeypatch: pytest.MonkeyPatch):
    def offline(*names: str) -> None:
        raise ConnectionError("Couldn't reach it\nwith a long story")

    monkeypatch.setattr(datasets, "load_dataset", offline)
    with pytest.raises(OSError, match=r"^cannot load nyu-mll/glue/rte from the hub \(Couldn't reach it\): .*folder$"):
        load(task("rte"), "hub")
