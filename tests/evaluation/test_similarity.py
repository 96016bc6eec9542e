"""Scores of sentence vectors on pairs of texts, on vectors whose cosines are computed by hand."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

from leanformer.evaluation import similarity
from leanformer.evaluation.similarity import Pairs, agreement, measure, read_pairs

ANGLES = {"a": 0.0, "b": 0.1, "c": 0.5, "d": 1.5, "e": 1.45}
"""A text is a direction in the plane, so that the cosine of two texts is that of the difference of their angles."""


def vectors(texts: list[str]) -> np.ndarray:
    return np.array([[np.cos(ANGLES[text]), np.sin(ANGLES[text])] for text in texts], np.float32) * 3


def test_scores_and_retrieval_by_hand() -> None:
    # Differences of angles: a-b 0.1, a-c 0.5, d-e 0.05, d-a 1.5. Relevant are scores of at least 4: a-c and d-e.
    pairs = Pairs(["a", "a", "d", "d"], ["b", "c", "e", "a"], np.array([2.0, 5.0, 4.0, 0.0]))
    found = measure(pairs, vectors)
    # Ranks of the cosines: 3, 2, 4, 1; of the scores: 2, 4, 3, 1; their correlation is 2 / 5.
    assert found["spearman"] == pytest.approx(0.4, abs=1e-6)
    # a: of b, c, e (a itself is left out) c is second; d: of b, c, e, a the nearest is e.
    assert found["mrr@10"] == pytest.approx((1 / 2 + 1) / 2) and found["recall@1"] == 0.5 and found["queries"] == 2


def test_without_scores_every_pair_is_relevant() -> None:
    found = measure(Pairs(["a", "d"], ["b", "c"]), vectors)
    assert "spearman" not in found
    assert found["mrr@10"] == 1.0 and found["recall@1"] == 1.0  # c is nearer to d than b is


def test_a_rank_beyond_ten_counts_nothing() -> None:
    texts = [str(number) for number in range(13)]
    angles = {text: 0.1 * int(text) for text in texts}
    pairs = Pairs(["0", *["x"] * 11], ["12", *texts[1:12]], np.array([1.0, *[0.0] * 11]))
    found = measure(pairs, lambda each: np.array([[np.cos(angles.get(t, 3)), np.sin(angles.get(t, 3))] for t in each]))
    assert found["mrr@10"] == 0.0 and found["recall@1"] == 0.0 and found["queries"] == 1


def test_agreement_is_blind_to_scale_and_rotation_where_it_should_be() -> None:
    rng = np.random.default_rng(0)
    teacher = rng.normal(size=(20, 6)).astype(np.float32)
    rotation = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    assert agreement(3 * teacher, teacher) == {"cosine": pytest.approx(1), "similarities": pytest.approx(1)}
    rotated = agreement((teacher @ rotation).astype(np.float32), teacher)
    assert rotated["similarities"] == pytest.approx(1) and rotated["cosine"] < 0.9
    assert "cosine" not in agreement(teacher[:, :3], teacher)
    assert agreement(teacher[:2], teacher[:2]).keys() == {"cosine"}  # one pair has no rank


def test_an_encoder_that_tells_nothing_apart_finds_nothing() -> None:
    pairs = Pairs(["a", "b", "c"], ["d", "e", "f"])
    found = measure(pairs, lambda texts: np.ones((len(texts), 4), np.float32))
    assert found["recall@1"] == 0.0 and found["mrr@10"] == pytest.approx(1 / 3)


def test_what_is_no_pair_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "pairs.jsonl"
    for second, message in {
        '{"sentence1": "x", "score": 2}': r"line 2: no column 'sentence2'",
        '{"sentence1": "x", "sentence2": null, "score": 2}': r"line 2: sentence2 is empty \(null\)",
        '{"sentence1": "x", "sentence2": "y"}': r"line 2: no column 'score'",
        '{"sentence1": "x", "sentence2": "y", "score": 1}': r"all scores are 1, which order no pairs",
    }.items():
        file.write_text('{"sentence1": "a", "sentence2": "b", "score": 1}\n' + second + "\n")
        with pytest.raises(ValueError, match=message):
            read_pairs(file)


def test_columns_are_found_or_named(tmp_path: Path) -> None:
    file = tmp_path / "pairs.jsonl"
    rows = [{"sentence1": "x", "sentence2": "y", "label": label, "q": "z", "s": "n"} for label in (3, 4)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = read_pairs(file)
    assert (found.first, found.second) == (["x", "x"], ["y", "y"])
    assert found.scores is not None and found.scores.tolist() == [3.0, 4.0]
    assert read_pairs(file, ["q", "sentence2"]).scores is None
    for columns, message in {
        ("q", "nope"): "has no column 'nope'",
        ("q",): "name two columns",
        ("q", "q"): "name two columns",
        ("q", "s", "sentence1"): "sentence1 = 'x' is no number",
    }.items():
        with pytest.raises(ValueError, match=message):
            read_pairs(file, columns)
    other = tmp_path / "other.csv"
    other.write_text("left,right\na,b\n")
    with pytest.raises(ValueError, match="which columns hold the two texts"):
        read_pairs(other)


def test_the_suite_measures_a_models_vectors(data: Path, tiny: list[str], command, tmp_path: Path) -> None:
    status, _, _ = command("pretrain", "--data", data, "--out", tmp_path / "run", *tiny, "--quiet")
    assert status == 0
    file = tmp_path / "pairs.csv"
    file.write_text("left,right,y\nabc,abd,4\nabc,xyz,0\nfoo,fop,5\nfoo,q,1\n")
    how = ("evaluate", tmp_path / "run", "--suite", "similarity", "--data", file, "--json")
    status, out, _ = command(*how, "--columns", "left,right,y")
    found = json.loads(out)
    assert status == 0 and found["pairs"] == 4 and found["queries"] == 2 and -1 <= found["spearman"] <= 1
    status, _, err = command(*how)
    assert status == 2 and "which columns hold the two texts" in err and "(A,B,SCORE)" in err


def test_agreement_compares_pairs_of_evenly_spread_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of more texts than it pairs; the mean cosine is over all of them."""
    rng = np.random.default_rng(1)
    teacher = rng.normal(size=(40, 6)).astype(np.float32)
    student = (teacher + 0.5 * rng.normal(size=(40, 6))).astype(np.float32)
    whole = agreement(student, teacher)
    monkeypatch.setattr(similarity, "MOST", 10)
    found = agreement(student, teacher)
    above = np.triu_indices(10, 1)
    unit = [each[::4] / np.linalg.norm(each[::4], axis=1, keepdims=True) for each in (student, teacher)]
    expected = spearmanr(*[(each @ each.T)[above] for each in unit]).statistic
    assert found["similarities"] == pytest.approx(expected, abs=1e-6) and found["cosine"] == whole["cosine"]
