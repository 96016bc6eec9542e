"""People's own files, of every kind, are learned from a tiny model, and the records say what was done."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification

from leanformer.finetuning.finetune import finetune_own
from leanformer.inference import predict
from leanformer.models import saved


def words(random: np.random.Generator, count: int) -> list[str]:
    return [f"w{i}" for i in random.integers(5, 24, count)]


def write(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(7)


def lines(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "predictions.jsonl").read_text().splitlines()]


def tagged_row(random: np.random.Generator, longest: int) -> dict:
    """w1 w2 is an entity of type A, w3 one of type B."""
    tokens, tags = [], []
    for word in words(random, random.integers(2, longest)):
        more = [(word, "O")]
        if random.random() < 0.2:
            more += [("w1", "B-A"), ("w2", "I-A")] if random.random() < 0.5 else [("w3", "B-B")]
        for token, tag in more:
            tokens.append(token)
            tags.append(tag)
    return {"tokens": tokens, "tags": tags}


def test_entities_are_found_in_long_texts(run: Path, quick: Callable, tmp_path: Path, random: np.random.Generator):
    """Most texts are longer than a window; `predict` gives the entities of the record, with their characters."""
    data = write(tmp_path / "names.jsonl", [tagged_row(random, 40) for _ in range(220)])
    record = finetune_own(run, data, tmp_path / "out", quick(epochs=8), quiet=True)
    results = record["results"]
    assert results["metrics"]["entity_f1"] > 0.9
    assert results["metrics"].keys() == {"entity_f1", "entity_precision", "entity_recall", "token_accuracy"}
    assert results["baselines"]["validation"]["systems"][1]["system"] == "most frequent tag per word"
    assert record["own"]["task"]["labels"] == ["O", "B-A", "I-A", "B-B", "I-B"]
    assert record["data"]["truncated"] == {"train": 0, "validation": 0}
    model = AutoModelForTokenClassification.from_pretrained(tmp_path / "out" / "model")
    assert model.config.id2label == dict(enumerate(record["own"]["task"]["labels"]))

    (tmp_path / "new.conll").write_text("w7\nw1\nw2\nw3\n\nw1\nw2\n")
    given, _ = predict(tmp_path / "out", [tmp_path / "new.conll"])
    assert given["tokens"] == "w7 w1 w2 w3"
    assert given["tags"] == ["O", "B-A", "I-A", "B-B"]
    (tmp_path / "new.txt").write_text("w7 (w1 w2), w3.\n\n")
    told, empty = predict(tmp_path / "out", [tmp_path / "new.txt"])
    found = [(one["start"], one["end"], one["label"], one["text"]) for one in told["entities"]]
    assert (4, 9, "A", "w1 w2") in found
    assert all(told["tokens"][start:end] == text for start, end, _, text in found)
    assert empty == {"tokens": "", "entities": []}
    (loose,) = predict(tmp_path / "out" / "model", [write(tmp_path / "a.jsonl", [{"text": ["w1", "w2"]}])])
    assert loose["tags"] == ["B-A", "I-A"]


def test_several_labels(run: Path, quick: Callable, tmp_path: Path, random: np.random.Generator):
    """Label wI belongs to a text that holds wI."""
    rows = []
    for _ in range(600):
        labels = [f"w{i}" for i in range(2) if random.random() < 0.4]
        rows.append({"text": " ".join(random.permutation([*words(random, 3), *labels])), "labels": labels})
    settings = quick(epochs=8, learning_rate=5e-3)
    record = finetune_own(run, write(tmp_path / "topics.jsonl", rows), tmp_path / "out", settings, quiet=True)
    assert record["results"]["metrics"]["micro_f1"] > 0.9
    config = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out" / "model").config
    assert config.problem_type == "multi_label_classification"
    (tmp_path / "new.txt").write_text("w5 w1 w0\nw7 w8\n")
    for place in (tmp_path / "out", tmp_path / "out" / "model"):
        both, none = predict(place, [tmp_path / "new.txt"])
        assert (both["labels"], none["labels"]) == (["w0", "w1"], [])
        assert list(both["probabilities"]) == ["w0", "w1"]
        assert both["probabilities"]["w0"] > 0.5 > none["probabilities"]["w0"]


def test_numbers_keep_their_unit(run: Path, quick: Callable, tmp_path: Path, random: np.random.Generator):
    """The number is 1000 + 50 times the words w1: learned on standardised numbers, predicted in the file's unit."""
    rows = []
    for _ in range(300):
        count = int(random.integers(0, 5))
        text = " ".join(random.permutation([*words(random, 4 - count), *["w1"] * count]))
        rows.append({"text": f"{text} w{random.integers(5, 24)}", "price": 1000 + 50.5 * count})
    data = write(tmp_path / "prices.jsonl", rows)
    record = finetune_own(run, data, tmp_path / "out", quick(epochs=8), label=["price"], quiet=True)
    found = record["results"]["metrics"]
    assert found["pearson"] > 0.9
    assert found["mae"] < found["rmse"] < 40
    said = lines(tmp_path / "out")
    assert np.mean([abs(line["label"] - line["prediction"]) for line in said]) == pytest.approx(found["mae"], rel=1e-4)
    losses = np.mean([(line["label"] - line["prediction"]) ** 2 for line in said])
    assert record["results"]["validation_loss"] == pytest.approx(losses, rel=1e-4)
    assert record["own"]["target"]["mean"] == pytest.approx(1100, abs=20)
    (tmp_path / "new.txt").write_text("w1 w1 w1 w1 w6\nw7 w8 w9 w10 w6\n")
    high, low = (row["prediction"] for row in predict(tmp_path / "out" / "model", [tmp_path / "new.txt"]))
    assert high - low == pytest.approx(202, abs=80)


def test_questions_without_an_answer(run: Path, quick: Callable, tmp_path: Path, random: np.random.Generator):
    """The answer to w3 is "w1 w2"; w4 has none."""
    rows = []
    for i in range(240):
        context = words(random, 9 + random.integers(20))
        place = int(random.integers(len(context) - 1))
        context[place : place + 2] = ["w1", "w2"]
        start = len(" ".join(context[:place])) + (place > 0)
        answers = {"text": ["w1 w2"], "answer_start": [start]} if i % 2 else {"text": [], "answer_start": []}
        rows.append({"question": "w3" if i % 2 else "w4", "context": " ".join(context), "answers": answers})
    record = finetune_own(run, write(tmp_path / "faq.jsonl", rows), tmp_path / "out", quick(epochs=12), quiet=True)
    results = record["results"]
    assert results["metrics"]["exact_match"] > 0.9
    said = lines(tmp_path / "out")
    threshold = results["no_answer_threshold"]
    assert all((line["prediction"] == "") == (line["scores"][1] - line["scores"][0] > threshold) for line in said)
    new = write(tmp_path / "new.jsonl", [{"question": q, "context": "w9 w1 w2 w8"} for q in ("w3", "w4")])
    for place in (tmp_path / "out", tmp_path / "out" / "model"):
        some, none = predict(place, [new])
        assert (some["answer"], none["answer"]) == ("w1 w2", "")
        assert some["score"] > 0 > none["score"]


def classes(path: Path, random: np.random.Generator, count: int, rare: float = 0.5) -> Path:
    kinds = random.random(count) < rare
    rows = ["text,label", *(f"{' '.join([*words(random, 4), f'w{int(k)}'])},{'yes' if k else 'no'}" for k in kinds)]
    path.write_text("\n".join(rows))
    return path


def test_classes_with_a_test_file(run: Path, quick: Callable, tmp_path: Path, random: np.random.Generator):
    data = classes(tmp_path / "reviews.csv", random, 300)
    test = classes(tmp_path / "test.csv", random, 61)
    settings = quick(epochs=8, learning_rate=5e-3)
    record = finetune_own(run, data, tmp_path / "out", settings, test=test, quiet=True)
    results = record["results"]
    assert results["examples"] == record["data"]["examples"]["validation"] == 50
    assert record["data"]["examples"] == {"train": 250, "validation": 50, "test": 61}
    assert [line["split"] for line in lines(tmp_path / "out")] == ["validation"] * 50 + ["test"] * 61
    assert results["test"]["metrics"]["accuracy"] > 0.9
    assert results["baselines"].keys() == {"validation", "test"}
    counts = record["own"]["labels"]
    frequent = max(counts["train"], key=counts["train"].get)
    always = next(s for s in results["baselines"]["test"]["systems"] if s["system"] == f"always {frequent!r}")
    assert always["accuracy"] == pytest.approx(counts["test"][frequent] / 61)
    again = finetune_own(run, data, tmp_path / "out", settings, test=test, quiet=True)
    assert again["results"] == results  # it is kept
    with pytest.raises(FileExistsError, match="holds a finished run with another data.hash of train"):
        finetune_own(run, data, tmp_path / "out", settings, test=test, split_seed=1, quiet=True)


def test_balanced_classes_find_the_rare_one(run: Path, quick: Callable, tmp_path: Path, random: np.random.Generator):
    data = classes(tmp_path / "reviews.csv", random, 400, rare=0.1)
    record = finetune_own(run, data, tmp_path / "out", quick(epochs=6, loss="balanced"), seeds=2, quiet=True)
    assert list(record["metrics"]) == ["macro_f1", "accuracy"]
    assert record["score"] > 0.9
    assert {found["validation"]["verdict"] for found in record["baselines"]} <= {"undecided", "not better"}


def test_weights_of_tags_and_of_several_labels(run: Path, quick: Callable, tmp_path: Path, random: np.random.Generator):
    """A balanced loss starts near that of the best constant, for every kind that has classes."""
    tokens = write(tmp_path / "names.jsonl", [tagged_row(random, 9) for _ in range(60)])
    rows = [{"text": " ".join(words(random, 3)), "labels": ["a"] if i % 7 else ["b"]} for i in range(60)]
    topics = write(tmp_path / "topics.jsonl", rows)
    for data in (tokens, topics):
        record = finetune_own(run, data, tmp_path / data.stem, quick(epochs=1, loss="balanced"), quiet=True)
        assert record["status"] == "finished"
    numbers = write(tmp_path / "n.jsonl", [{"text": f"w{i % 20} w{i}", "label": i / 2} for i in range(60)])
    with pytest.raises(ValueError, match="finetuning.loss = 'balanced': n has no classes to weigh; choose mean"):
        finetune_own(run, numbers, tmp_path / "out", quick(loss="balanced"), quiet=True)


def test_one_number_alone(run: Path, quick: Callable, tmp_path: Path):
    data = write(tmp_path / "n.jsonl", [{"text": f"w{i}", "label": 2.5} for i in range(60)])
    with pytest.raises(ValueError, match="all training rows have the same number 2.5: nothing can be learned"):
        finetune_own(run, data, tmp_path / "out", quick(), quiet=True)


def test_the_head_of_a_regression_is_rescaled(run: Path, make_model: Callable, tmp_path: Path):
    from leanformer.data.tasks import Task
    from leanformer.finetuning.classifier import load_classifier, rescale

    model = load_classifier(run / "model", Task("x", ("text",), metrics=("pearson",)), seed=1).eval()
    ids = torch.arange(5, 10)[None]
    before = model(ids).logits
    rescale(model, mean=7.0, sd=3.0)
    torch.testing.assert_close(model(ids).logits, 3 * before + 7)


def test_the_command(command: Callable, run: Path, tmp_path: Path, random: np.random.Generator):
    data = classes(tmp_path / "reviews.csv", random, 120)
    options = ["--set", "finetuning.max_length=19", "--set", "finetuning.epochs=1", "--set", "finetuning.threads=1"]
    status, out, err = command("finetune", run, "--data", data, "--out", tmp_path / "out", *options)
    assert (status, err) == (0, "")
    assert (
        "note: reviews.csv is a task of the kind single, since label holds 2 different names (--kind gives another"
        in out
    )
    assert "TF-IDF with logistic regression" in out
    assert "95 % interval of the score" in out
    (tmp_path / "new.txt").write_text("w5 w1\n")
    status, out, err = command("predict", tmp_path / "out", tmp_path / "new.txt")
    assert json.loads(out)["label"] in ("yes", "no")
    for wrong, message in (
        (["--data", data, "--task", "sst2"], "--data and --task: give one of them"),
        ([], "what to learn is missing: give --data FILE, or --task NAME and --task-data DIR"),
        (["--task", "sst2", "--task-data", "x", "--kind", "multi"], "--kind is an option of --data FILE: leave it out"),
        (["--data", data, "--class-weights", "equal"], "--class-weights equal: balanced is the only choice"),
        (["--data", data, "--label", "stars"], "has no column 'stars' for --label: it has: text, label"),
    ):
        status, out, err = command("finetune", run, "--out", tmp_path / "none", *wrong)
        assert status == 2
        assert message in err
        assert err.count("\n") == 1
    assert saved.record_of(tmp_path / "none" / "model") is None
