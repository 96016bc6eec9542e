"""What a comparison will take: passes by their FLOPs, updates by their number."""

import pytest
import torch
from torch import nn

from leanformer.comparison import estimate
from leanformer.comparison.plan import Plan
from leanformer.comparison.variants import parse_variants
from leanformer.data.corpus import Corpus
from leanformer.settings import TrainingSettings, read_settings
from leanformer.training.masked_lm import MaskedLM


@pytest.mark.parametrize(("batch", "steps"), [(4, 64), (8, 32)])
def test_every_step_costs_its_passes_and_an_update(data, monkeypatch, batch, steps):
    monkeypatch.setattr(estimate, "seconds_of_a_step", lambda *_: 2.0)
    monkeypatch.setattr(estimate, "seconds_of_an_update", lambda *_: 3.0)
    sizes = ("training.max_tokens=8192", f"training.batch_size={batch}", "training.sequence_length=32")
    settings = read_settings(None, [*sizes, "model.hidden_size=32", "model.num_attention_heads=4"])
    plan = Plan(settings=settings, variants=parse_variants("dot_product"), seeds=[1], learning_rates=None, tasks=[],
                task_seeds=1, task_data=None, data={}, plugin=None, command="")  # fmt: skip
    corpus = Corpus.open(data)
    seconds = estimate.Estimator(plan, corpus, MaskedLM(corpus, settings.training), 1, 1).pretraining_seconds
    assert seconds(plan.runs[0]) == pytest.approx(steps * (2.0 + 3.0) + estimate.PROCESS_SECONDS)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_an_update_is_that_of_the_settings(optimizer):
    model = nn.Linear(4, 4)
    model(torch.ones(1, 4)).sum().backward()
    before = model.weight.detach().clone()
    assert estimate.seconds_of_an_update(model, TrainingSettings(optimizer=optimizer), torch.device("cpu")) > 0
    assert not torch.equal(model.weight, before)
