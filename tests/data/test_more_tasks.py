"""SuperGLUE, SQuAD, AG News and IMDb: how their rows are read, grouped and, without a training split, divided."""

import json
from pathlib import Path

import numpy as np
import pytest

from leanformer.data.examples import Examples, load
from leanformer.data.tasks import task

TASKS = {  # a row; the texts made of it; labels in order, metrics, the split that is scored, the hub's name
    "boolq": (
        {"question": "is it", "passage": "It is.", "idx": 0, "label": 1},
        ("is it", "It is."),
        ("False True", "accuracy", "validation", "aps/super_glue boolq"),
    ),
    "cb": (
        {"premise": "He said so.", "hypothesis": "it is so", "label": 1},
        ("He said so.", "it is so"),
        ("entailment contradiction neutral", "accuracy macro_f1", "validation", "aps/super_glue cb"),
    ),
    "copa": (
        {"premise": "It is day.", "choice1": "It is light.", "choice2": "It rains.", "question": "effect", "label": 1},
        ("It is day. What happened as a result?", "It is light.", "It rains."),
        ("choice1 choice2", "accuracy", "validation", "aps/super_glue copa"),
    ),
    "multirc": (
        {"paragraph": "Two came.", "question": "Who came?", "answer": "Two", "idx": {"answer": 3}, "label": 1},
        ("Two came.", "Who came? Two"),
        ("False True", "f1 em", "validation", "aps/super_glue multirc"),
    ),
    "superglue_rte": (
        {"premise": "No war.", "hypothesis": "War.", "label": 1},
        ("No war.", "War."),
        ("entailment not_entailment", "accuracy", "validation", "aps/super_glue rte"),
    ),
    "wic": (
        {"word": "place", "sentence1": "Come to my place.", "start1": 11, "end1": 16}
        | {"sentence2": "Places to be", "start2": 0, "end2": 6, "label": 1},
        ("Come to my * place *.", "* Places * to be"),
        ("False True", "accuracy", "validation", "aps/super_glue wic"),
    ),
    "wsc": (
        {"text": "Mr. Mark told  Pete, so he left.", "span1_index": 0, "span1_text": "mr. Mark"}
        | {"span2_index": 5, "span2_text": "he", "label": 1},
        ("* Mr. Mark * told Pete, so # he # left.",),
        ("False True", "accuracy", "validation", "aps/super_glue wsc"),
    ),
    "squad": (
        {"id": "a", "title": "", "context": "It gave up 308 points.", "question": "How many?"}
        | {"answers": {"text": ["308", "308 points"], "answer_start": [11, 11]}},
        ("How many?", "It gave up 308 points."),
        ("", "exact_match token_f1", "validation", "rajpurkar/squad"),
    ),
    "ag_news": (
        {"text": "Team wins", "label": 1},
        ("Team wins",),
        ("World Sports Business Sci/Tech", "accuracy", "test", "fancyzhx/ag_news"),
    ),
    "imdb": (
        {"text": "Fine.", "label": 1},
        ("Fine.",),
        ("negative positive", "accuracy", "test", "stanfordnlp/imdb"),
    ),
}


def write(folder: Path, split: str, rows: list[dict]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.mark.parametrize("name", TASKS)
def test_rows_become_the_texts_that_are_read(name: str, tmp_path: Path):
    row, texts, (labels, metrics, scored, hub) = TASKS[name]
    folder = tmp_path / ("rte" if name == "superglue_rte" else name)
    for split in ("train", "validation", "test"):
        write(folder, split, [row] if split in ("train", scored) else [{"not": "read"}])

    train, validation = load(task(name), tmp_path)

    assert list(validation) == [scored]
    assert train.texts == validation[scored].texts == [texts]
    assert train.labels.tolist() == ([row["answers"]] if name == "squad" else [1])
    assert train.note is None
    assert (task(name).labels, task(name).metrics) == (tuple(labels.split()), tuple(metrics.split()))
    assert task(name).hub == tuple(hub.split())


def test_a_cause_is_asked_for_in_words(tmp_path: Path):
    for split in ("train", "validation"):
        write(tmp_path / "copa", split, [TASKS["copa"][0] | {"question": "cause"}])
    assert load(task("copa"), tmp_path)[0].texts[0][0] == "It is day. What was the cause?"


def test_labels_may_be_json_booleans(tmp_path: Path):
    rows = [TASKS["boolq"][0] | {"label": label} for label in (True, False)]
    for split in ("train", "validation"):
        write(tmp_path / "boolq", split, rows)
    assert load(task("boolq"), tmp_path)[0].labels.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("copa", {"question": "causes"}, "question 'causes': did you mean 'cause'"),
        ("copa", {"label": 2}, "label 2 is not of copa: choice1, choice2"),
        ("wic", {"end2": 13}, "characters 0 to 13 are no part of a sentence of 12"),
        ("wic", {"start1": 16}, "characters 16 to 16 are no part"),
        ("wic", {"start1": "eleven"}, "invalid literal for int"),
        ("wic", {"start1": [11]}, "int.. argument must be a string"),
        ("wsc", {"span2_index": 7}, "span 2, words 7 to 7, is no part of a text of 7 words"),
        ("wsc", {"span1_index": -1}, "span 1, words -1 to 0, is no part"),
        ("wsc", {"span1_text": " "}, "span 1, words 0 to -1, is no part"),
        ("squad", {"answers": "308"}, r"'308' is not {\"text\": \[...\], \"answer_start\": \[...\]}"),
        ("squad", {"answers": {"text": ["308"], "answer_start": []}}, "is not"),
        ("squad", {"answers": {"text": ["308"], "answer_start": [12]}}, "the answer '308' is not at character 12"),
        ("squad", {"answers": {"text": ["."], "answer_start": [-1]}}, "the answer '.' is not at character -1"),
        ("squad", {"answers": {"text": [], "answer_start": []}}, "no answer: questions without one"),
        ("squad", {"answers": {"text": [""], "answer_start": [3]}}, "no answer: questions without one"),
    ],
)
def test_a_row_that_cannot_be_read_is_named(name: str, changes: dict, message: str, tmp_path: Path):
    row = TASKS[name][0]
    write(tmp_path / name, "train", [row, {**row, **changes}])
    write(tmp_path / name, "validation", [row])
    with pytest.raises(ValueError, match=rf"train\.jsonl, line 2: .*{message}"):
        load(task(name), tmp_path)


def test_answers_to_a_question_stay_together(tmp_path: Path):
    """3 answers to each of 40 questions, not side by side."""
    for split in ("train", "validation"):
        rows = [(f"a{i}", q) for i in range(3) for q in range(40)]
        columns = [{"paragraph": f"p{q % 7}", "question": f"q{q}", "answer": a, "label": a == "a0"} for a, q in rows]
        write(tmp_path / "multirc", split, columns)
    train, _ = load(task("multirc"), tmp_path)
    assert train.groups is not None and train.groups.tolist() == 3 * list(range(40))
    for size, kept in ((1, 3), (3, 3), (20, 18), (119, 117)):
        part = train.subset(size)
        assert part.groups is not None and np.bincount(part.groups).tolist() == [3] * (kept // 3)
        assert len(part.texts) == len(set(part.texts)) == kept
    rest, held_out = train.split(0.2)
    assert (len(rest.texts), len(held_out.texts)) == (96, 24)
    questions = [{text.split()[0] for _, text in part.texts} for part in (rest, held_out)]
    assert len(questions[0] | questions[1]) == 40 and not questions[0] & questions[1]
    assert train.hash != Examples(train.texts, train.labels).hash


def test_data_without_a_training_split_are_divided_where_the_entry_says_so(tmp_path: Path):
    rows = [{"question": f"q{i}", "passage": "p", "label": i % 2} for i in range(101)]
    write(tmp_path / "boolq", "validation", rows)
    train, validation = load(task("boolq"), tmp_path)
    parts = (train, validation["validation"])
    numbers = [[int(question[1:]) for question, _ in part.texts] for part in parts]
    assert [len(part) for part in numbers] == [81, 20]
    assert sorted(numbers[0] + numbers[1]) == list(range(101))
    assert all(part == sorted(part) for part in numbers) and numbers[1] != list(range(81, 101))
    assert [part.labels.tolist() for part in parts] == [[i % 2 for i in part] for part in numbers]
    assert train.note is not None
    assert train.note.startswith("boolq has no training split here: 81 of the 101 validation examples, ")
    assert load(task("boolq"), tmp_path)[0].texts == train.texts

    write(tmp_path / "boolq", "train", rows[:7])
    train, validation = load(task("boolq"), tmp_path)
    assert (len(train.texts), len(validation["validation"].texts), train.note) == (7, 101, None)


def test_a_single_example_cannot_be_divided(tmp_path: Path):
    write(tmp_path / "boolq", "validation", [TASKS["boolq"][0]])
    with pytest.raises(ValueError, match="boolq has no training split, and too few validation examples to divide"):
        load(task("boolq"), tmp_path)


def test_data_without_a_training_split_are_refused_otherwise(tmp_path: Path):
    write(tmp_path / "cb", "validation", [TASKS["cb"][0]])
    for name, place in (("cb", "cb/train"), ("boolq", "boolq/validation"), ("superglue_rte", "/rte/train")):
        with pytest.raises(FileNotFoundError, match=f"no file .*{place} with ending"):
            load(task(name), tmp_path)
