"""The expected loss, against the committed records that it is fitted to."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from leanformer import recipes
from leanformer.data.corpus import Corpus
from leanformer.settings import settings_from
from leanformer.training.budget import forecast

RECORDS = Path(__file__).parents[3] / "docs" / "results"


def record(name):
    return json.loads((RECORDS / name).read_text())


def points():
    """(tokens, loss) of the three runs at their last validation."""
    yield tuple(record("performance/time-to-loss-trial.json")["fast-a"]["validations"][-1][1:])
    for name in ("results", "longer-teacher"):
        row = record(f"conversion/{name}.json")["rows"][0]
        assert row["kind"] == "teacher"
        yield tuple(row["validations"][-1])


def test_the_line_is_the_fit_of_the_records():
    tokens, losses = np.array(list(points())).T
    slope, height = np.polyfit(np.log(tokens), np.log(losses), 1)
    assert pytest.approx((np.exp(height), -slope), rel=2e-3) == (forecast.A, forecast.B)
    assert np.abs(forecast.A * tokens**-forecast.B - losses).max() < 0.05
    assert forecast.TOKENS[0] <= tokens.min() and tokens.max() <= forecast.TOKENS[1]


def test_it_misses_the_narrower_model_by_a_tenth():
    runs = [run for run in record("shared-weights/results.json")["runs"] if run["attention"] == "dot_product"]
    measured = np.mean([run["final_loss"] for run in runs])
    assert abs(forecast.A * runs[0]["tokens"] ** -forecast.B - measured) < 0.115


FAST = settings_from(recipes.load("fast"))


@pytest.fixture
def wiki(data, monkeypatch):
    """A corpus that says of itself that it is as long and as hard to guess as the records' text."""
    corpus = Corpus.open(data)
    monkeypatch.setattr(forecast, "_entropy", lambda corpus: 7.0)
    monkeypatch.setattr(type(corpus.train), "__len__", lambda store: 36_000_000)
    return corpus


def test_a_run_within_the_records_is_predicted(wiki):
    assert forecast.expected_loss(FAST, wiki, 8_000_000) == pytest.approx(3.46, abs=0.01)


@pytest.mark.parametrize(
    ("model", "training", "tokens"),
    [
        ({"attention": "shared"}, {}, 8_000_000),
        ({"hidden_size": 128}, {}, 8_000_000),
        ({"positions": "learned"}, {}, 8_000_000),
        ({"hidden_dropout_prob": 0.1}, {}, 8_000_000),
        ({}, {"optimizer": "adamw"}, 8_000_000),
        ({}, {"objective": "causal_lm"}, 8_000_000),
        ({}, {}, 1_000_000),
        ({}, {}, 40_000_000),
    ],
)
def test_a_run_unlike_the_records_is_not_predicted(wiki, model, training, tokens):
    settings = replace(FAST, model=FAST.model | model, training=FAST.training.updated(training))
    assert forecast.expected_loss(settings, wiki, tokens) is None


def test_the_text_must_be_as_hard_to_guess(data):
    """Characters have an entropy of about 3 nats, by their frequencies."""
    corpus = Corpus.open(data)
    counts = np.bincount(corpus.train.tokens, minlength=corpus.vocab_size)[corpus.ordinary_ids] + 1.0
    chances = counts / counts.sum()
    assert forecast._entropy(corpus) == pytest.approx(-(chances * np.log(chances)).sum())
    assert forecast.expected_loss(FAST, corpus, 8_000_000) is None
