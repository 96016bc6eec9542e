"""Counts, intervals and groups of minimal pairs, by a model that knows nothing but how frequent words are."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from leanformer.evaluation import pretrained
from leanformer.evaluation.evaluate import evaluate
from leanformer.evaluation.probes.minimal_pairs import accuracy, read
from leanformer.models import saved

BIAS = torch.arange(29) / 7
"""The score of every token: the later a word in the vocabulary, the likelier, whatever stands around it."""


@pytest.fixture(scope="module")
def frequent(make_model: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = make_model(tmp_path_factory.mktemp("frequent"))
    model = pretrained.load(run / "model", "masked_lm")
    for parameter in model.parameters():
        parameter.data.zero_()
    model.head.decoder.bias.data.copy_(BIAS)
    with saved.quiet():
        model.save_pretrained(run / "model")
    return run


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    def write(name: str, good_and_bad: list[tuple[str, str]], **more: str) -> None:
        rows = [{"sentence_good": good, "sentence_bad": bad} | more for good, bad in good_and_bad]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    better = ("w1 w9", "w1 w3")
    write("two", [better, better, better, better[::-1]], UID="TWO", linguistics_term="islands", field="syntax")
    write("one", [better, ("w1 w2", "w2 w1")], linguistics_term="islands", field="syntax")
    write("three", [("w1 w2", "w1 w2"), better], linguistics_term="scope", field="syntax/semantics")
    (tmp_path / "wug.jsonl").write_text(json.dumps({"sentences": "w1\tw2", "ratio": 0.5}) + "\n")
    return tmp_path


def test_what_is_likelier_is_counted_and_grouped(frequent: Path, pairs: Path):
    result = evaluate(frequent, "blimp", pairs)
    assert [(row["paradigm"], row["pairs"], row["accuracy"], row["ties"]) for row in result["paradigms"]] == [
        ("one", 2, 0.5, 1),
        ("three", 2, 0.5, 1),
        ("TWO", 4, 0.75, 0),
    ]
    assert [(row["phenomenon"], row["paradigms"], row["accuracy"]) for row in result["phenomena"]] == [
        ("islands", 2, pytest.approx(4 / 6)),
        ("scope", 1, 0.5),
    ]
    assert [(row["field"], row["pairs"]) for row in result["fields"]] == [("syntax", 6), ("syntax_semantics", 2)]
    assert (result["pairs"], result["accuracy"], result["ties"]) == (8, 5 / 8, 2)
    assert result["mean_of_paradigms"] == pytest.approx((0.5 + 0.5 + 0.75) / 3)
    assert (result["scored"], result["skipped"]) == ("pseudo-log-likelihood", ["wug.jsonl"])


def test_the_interval_is_wilsons():
    """(p + z^2 / 2n +- z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n), z = 1.96"""
    result = accuracy(np.array([[2.0, 1.0]] * 3 + [[1.0, 2.0]] * 2))
    z, p, n = 1.959963985, 0.6, 5
    reach = z * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    expected = [(p + z**2 / (2 * n) + sign * reach) / (1 + z**2 / n) for sign in (-1, 1)]
    assert [result["low"], result["high"]] == pytest.approx(expected, rel=1e-6)


def test_every_score_can_be_kept(frequent: Path, pairs: Path, tmp_path: Path):
    out = tmp_path / "kept" / "scores.jsonl"
    evaluate(frequent, "blimp", pairs, out=out)
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(row["paradigm"], row["row"]) for row in rows[2:5]] == [("three", 0), ("three", 1), ("TWO", 0)]
    chance = BIAS.double().log_softmax(-1)
    words = {"good": [6, 14], "bad": [6, 8]}  # w1 w9, w1 w3: five special tokens come first
    for side, ids in words.items():
        assert rows[0][side] == pytest.approx(chance[ids].sum().item(), rel=1e-5)


def test_a_limit_takes_the_same_pairs_every_time(pairs: Path):
    rows = [f"w{i}" for i in range(24)]
    file = pairs / "long.jsonl"
    file.write_text("".join(json.dumps({"sentence_good": row, "sentence_bad": "w0"}) + "\n" for row in rows))
    ((first,), _), ((again,), _), ((more,), _) = (read(file, limit) for limit in (5, 5, 9))
    assert first.rows.tolist() == again.rows.tolist() == sorted(set(first.rows.tolist()))
    assert set(first.rows) < set(more.rows)
    assert [good for good, _ in first.pairs] == [rows[i] for i in first.rows]
    assert len(read(file, 99)[0][0].pairs) == 24


def test_mistakes_are_one_line(frequent: Path, pairs: Path, tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="no file of minimal pairs"):
        evaluate(frequent, "blimp", tmp_path / "nowhere")
    with pytest.raises(ValueError, match="no file has the columns sentence_good and sentence_bad"):
        evaluate(frequent, "blimp", pairs / "wug.jsonl")
    with pytest.raises(ValueError, match="--limit 0: must be at least 1"):
        evaluate(frequent, "blimp", pairs, limit=0)
    (pairs / "two.jsonl").write_text(json.dumps({"sentence_good": "w1", "sentence_bad": " "}) + "\n")
    with pytest.raises(ValueError, match=r"two\.jsonl, line 1: sentence_bad is no text"):
        evaluate(frequent, "blimp_supplement", pairs)
    with pytest.raises(ValueError, match="the suite blimp needs --data PATH"):
        evaluate(frequent, "blimp")
    with pytest.raises(ValueError, match="reads one --data, not 2: only perplexity takes several"):
        evaluate(frequent, "blimp", [pairs, pairs])
