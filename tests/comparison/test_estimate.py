"""What a comparison will take: passes by their FLOPs, updates by their number."""

import pytest
import torch
from torch import nn

from leanformer.comparison.estimate import Estimator
from leanformer.comparison.plan import Plan
from leanformer.comparison.variants import parse_variants
from leanformer.data.corpus import Corpus
from leanformer.settings import TrainingSettings, read_settings
from leanformer.study import estimate
from leanformer.training.budget import pace
from leanformer.training.machine.timing import seconds_of_an_update
from leanformer.training.objectives.masked_lm import MaskedLM
from leanformer.training.run.scores import DRAWS


def pretraining_seconds(data, monkeypatch, *sizes):
    """With passes of 2 s a batch and updates of 3 s."""
    monkeypatch.setattr(pace, "seconds_of_a_step", lambda *_: 2.0)
    monkeypatch.setattr(pace, "seconds_of_an_update", lambda *_: 3.0)
    settings = read_settings(None, [*sizes, "model.hidden_size=32", "model.num_attention_heads=4"])
    plan = Plan(settings=settings, variants=parse_variants("dot_product"), seeds=[1], learning_rates=None, tasks=[],
                task_seeds=1, task_data=None, data={}, plugin=None, command="")  # fmt: skip
    corpus = Corpus.open(data)
    estimator = Estimator(plan, corpus, MaskedLM(corpus, settings.training), 1, 1)
    return estimator.pretraining_seconds(plan.runs[0]), corpus


@pytest.mark.parametrize(("batch", "steps"), [(4, 64), (8, 32)])
def test_every_step_costs_its_passes_and_an_update(data, monkeypatch, batch, steps):
    sizes = ("training.max_tokens=8192", f"training.batch_size={batch}", "training.sequence_length=32")
    seconds, _ = pretraining_seconds(data, monkeypatch, *sizes, "training.score_targets=0")
    assert seconds == pytest.approx(steps * (2.0 + 3.0) + estimate.process_seconds())


def test_a_score_costs_a_third_of_training_on_as_much_text(data, monkeypatch):
    """400 targets are 80 sequences of 5; the validation part gets 20 sequences, or two draws of what it has."""
    sizes = ("training.max_tokens=8192", "training.batch_size=4", "training.sequence_length=32")
    without, corpus = pretraining_seconds(data, monkeypatch, *sizes, "training.score_targets=0")
    seconds, _ = pretraining_seconds(data, monkeypatch, *sizes, "training.score_targets=400")
    sequences = 0
    for store, wanted in ((corpus.valid, 20), (corpus.test, 80)):
        there = min(wanted, store.sequences(32))
        sequences += there * min(DRAWS, -(-wanted // there))
    assert seconds - without == pytest.approx(sequences / 4 * 2.0 / 3)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_an_update_is_that_of_the_settings(optimizer):
    model = nn.Linear(4, 4)
    model(torch.ones(1, 4)).sum().backward()
    before = model.weight.detach().clone()
    assert seconds_of_an_update(model, TrainingSettings(optimizer=optimizer), torch.device("cpu")) > 0
    assert not torch.equal(model.weight, before)
