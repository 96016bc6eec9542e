"""Plans: given the times of a step the plan is determined; its settings repeat the run."""

from dataclasses import replace

import pytest
import torch

from leanformer import recipes
from leanformer.data.corpus import Corpus
from leanformer.settings import settings_from
from leanformer.training.budget import as_recorded, pace, plan, planning, scaling
from leanformer.training.budget.pace import Pace, cost, held_out_tokens, measure
from leanformer.training.objectives.masked_lm import MaskedLM
from leanformer.training.optimizers.schedule import VALIDATIONS

FAST = settings_from(recipes.load("fast"))
FLOPS_PER_SECOND = 4e10


@pytest.fixture
def timed(monkeypatch):
    """A machine of 40 GFLOP/s, whose updates take a nanosecond a parameter; returns the sizes that were timed."""
    seen = []

    def measure(settings, corpus):
        seen.append((settings.model["num_hidden_layers"], settings.model["hidden_size"]))
        flops, parameters = cost(settings, corpus)
        return Pace(flops / FLOPS_PER_SECOND, 1e-9 * parameters, flops, parameters)

    monkeypatch.setattr(planning, "measure", measure)
    return seen


@pytest.fixture
def long_text(monkeypatch, data):
    """The corpus of the tests, as if its text had 100 M tokens; nothing is read from it."""
    corpus = Corpus.open(data)
    monkeypatch.setattr(type(corpus.train), "__len__", lambda store: len(store.tokens) * 2000)
    monkeypatch.setattr(type(corpus.train), "sequences", lambda store, length: len(store.tokens) * 2000 // length)
    return corpus


def seconds_by_hand(settings, corpus):
    """FLOPs of training, those of evaluation at a third, and updates."""
    flops, parameters = cost(settings, corpus)
    objective = MaskedLM(corpus, settings.training)
    evaluated = held_out_tokens(objective, settings)
    tokens, steps = objective.tokens(objective.total_steps), objective.total_steps
    return (tokens + evaluated / 3) * flops / FLOPS_PER_SECOND + steps * 1e-9 * parameters


@pytest.mark.parametrize("seconds", [120, 3600, 36_000])
def test_a_plan_takes_the_time_that_is_given(timed, long_text, seconds):
    found = plan(FAST, long_text, seconds=seconds)
    assert found.seconds == pytest.approx(seconds_by_hand(found.settings, long_text))
    assert 0.94 * seconds <= found.seconds <= 1.005 * seconds  # twice the evaluation or batch is a jump of 5 % at most
    assert found.settings.training.max_tokens <= found.tokens < found.settings.training.max_tokens + 512 * 128
    assert (found.settings.training.max_steps, found.settings.training.max_seconds) == (None, None)


def test_more_time_trains_a_larger_model_on_more_tokens(timed, long_text):
    few, many = plan(FAST, long_text, seconds=60), plan(FAST, long_text, seconds=100_000)
    assert few.parameters < many.parameters and few.tokens < many.tokens
    assert few.settings.training.batch_size < many.settings.training.batch_size
    assert few.settings.training.learning_rate > many.settings.training.learning_rate


def test_the_size_is_that_of_the_rule_and_was_timed(timed, long_text):
    """With all sizes by their FLOPs, whose pace is exact here."""
    found = plan(FAST, long_text, seconds=20_000)
    ratios = {}
    for layers, width in planning.LADDER:
        sized = replace(FAST, model=planning.at_size(FAST.model, layers, width))
        flops, parameters = cost(sized, long_text)
        ratios[layers, width] = 20_000 * FLOPS_PER_SECOND / flops / (20 * parameters)
    model = found.settings.model
    best = min(ratios, key=lambda size: max(ratios[size], 1 / ratios[size]))
    assert (model["num_hidden_layers"], model["hidden_size"]) == best == timed[-1]
    assert timed[0] == planning.LADDER[0] and len(timed) == len(set(timed)) <= 3


def test_a_small_text_limits_the_tokens_and_the_sentence_says_so(timed, data):
    corpus = Corpus.open(data)
    found = plan(FAST, corpus, seconds=100_000)
    assert found.tokens <= scaling.most_tokens(len(corpus.train)) + 512 * 128
    assert found.tokens / len(corpus.train) == pytest.approx(16.4, rel=0.1)
    assert found.seconds < 100_000 and "the text, not the time, is the limit" in found.sentence


def test_a_budget_of_tokens_is_kept_to_the_step(timed, long_text):
    found = plan(FAST, long_text, tokens=30_000_000)
    assert found.settings.training.max_tokens == 30_000_000
    assert found.settings.training.batch_size == 64 and found.settings.training.first_batch_size == 16
    assert "30.0 M tokens" in found.sentence and "batches of 64" in found.sentence


def test_what_the_user_has_set_stays(timed, long_text):
    settings = replace(FAST, training=replace(FAST.training, batch_size=48, learning_rate=3e-3, warmup=0.2))
    keep = {"model.hidden_size", "training.batch_size", "training.learning_rate", "training.warmup"}
    found = plan(settings, long_text, seconds=3600, keep=keep).settings
    assert found.model == FAST.model and set(timed) == {(4, 256)}
    training = found.training
    assert (training.batch_size, training.learning_rate, training.warmup) == (48, 3e-3, 0.2)
    assert training.first_batch_size == FAST.training.first_batch_size


def test_a_forward_pass_stays_as_large_as_the_recipes(timed, long_text):
    """A batch of BERT's recipe is one pass; four times as many sequences are four."""
    bert = settings_from(recipes.load("bert"))
    training = plan(bert, long_text, tokens=128_000_000).settings.training
    assert (training.batch_size, training.micro_batch_size, training.first_batch_size) == (128, 32, None)
    assert (
        plan(bert, long_text, tokens=128_000_000, keep={"training.batch_size"}).settings.training.micro_batch_size
        is None
    )


def test_evaluation_is_a_tenth_of_a_short_run(timed, long_text):
    """It is halved until it is; long runs keep the recipe's."""
    short, long = plan(FAST, long_text, seconds=200).settings, plan(FAST, long_text, seconds=36_000).settings
    spent = held_out_tokens(MaskedLM(long_text, short.training), short) / 3
    assert short.training.validation_sequences < 512 and spent <= 0.1 * short.training.max_tokens
    assert long.training.validation_sequences == 512 and long.training.score_targets == 65_536
    kept = plan(FAST, long_text, seconds=200, keep={"training.score_targets"}).settings
    assert kept.training.score_targets == 65_536 > short.training.score_targets


def test_without_a_budget_the_settings_stay_as_they_are(timed, long_text):
    found = plan(FAST, long_text)
    assert found.settings == FAST
    assert found.sentence.startswith("4 layers of 256, 3.") and "8.0 M tokens" in found.sentence


@pytest.mark.parametrize(
    ("changed", "budget", "message"),
    [
        ({}, {"seconds": 0.001}, "50 steps alone take about .* here; give more time"),
        ({}, {"tokens": 1000}, "1,000 tokens are fewer than 50 steps: give 102,400 or more"),
        ({}, {"seconds": -1}, "a budget of time must be positive"),
        ({}, {"seconds": float("nan")}, "a budget of time must be positive"),
        ({}, {"tokens": 0}, "a budget of tokens must be positive"),
        ({}, {"seconds": 1, "tokens": 1}, "leave one of the two out"),
        ({"objective": "seq2seq", "first_batch_size": None}, {"seconds": 60}, "text, not pairs"),
        ({"max_tokens": None, "max_seconds": 5.0, "first_batch_size": None, "final_mask_rate": None}, {}, "--minutes"),
    ],
)
def test_what_cannot_be_planned_is_refused(timed, data, changed, budget, message):
    settings = replace(FAST, training=replace(FAST.training, **changed))
    with pytest.raises(ValueError, match=message):
        plan(settings, data, **budget)


def test_one_process_makes_the_plan(timed, data, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="a plan is made by one process"):
        plan(FAST, data, seconds=60)


def test_a_gpu_takes_larger_micro_batches(timed, long_text, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert plan(FAST, long_text, seconds=3600).settings.training.micro_batch_size == planning.GPU_MICRO_BATCH
    kept = plan(FAST, long_text, seconds=3600, keep={"training.micro_batch_size"})
    assert kept.settings.training.micro_batch_size == 8


def test_a_continued_run_keeps_its_plan_and_what_is_given_again(timed, long_text):
    found = plan(FAST, long_text, seconds=3600)
    recorded = found.settings.to_dict()
    assert as_recorded(recorded, FAST, ()) == found.settings
    other = replace(FAST, training=replace(FAST.training, seed=7, max_tokens=5))
    again = as_recorded(recorded, other, {"training.seed", "training.max_tokens"})
    assert again == replace(found.settings, training=replace(found.settings.training, seed=7))


def test_the_measurement_is_of_the_runs_own_steps(data, monkeypatch):
    """A micro-batch of the recipe is timed with masks half-way, and the clock's second is divided by its tokens."""
    corpus, masks = Corpus.open(data), []

    def seconds(loss, precision, device, least):
        loss().backward()
        return 1.0

    def micro_batches(self, step, rank, world, real=MaskedLM.micro_batches):
        found = real(self, step, rank, world)
        masks.extend(batch["labels"].shape for batch in found)
        return found

    monkeypatch.setattr(pace, "seconds_of_a_step", seconds)
    monkeypatch.setattr(pace, "seconds_of_an_update", lambda *_: 0.5)
    monkeypatch.setattr(MaskedLM, "micro_batches", micro_batches)
    threads = torch.get_num_threads()
    settings = replace(FAST, model=planning.at_size(FAST.model, 2, 128))
    settings = replace(settings, training=replace(settings.training, threads=threads))
    found = measure(settings, corpus)
    assert (found.token, found.update) == (1.0 / (8 * 128), 0.5)
    assert masks == [(8, round((0.3 + 0.15) / 2 * 128))]
    assert torch.get_num_threads() == threads


def test_another_size_costs_in_proportion():
    there = Pace(token=2.0, update=3.0, flops=10.0, parameters=4).at(20.0, 12)
    assert (there.token, there.update) == (4.0, 9.0)
    assert there.seconds(tokens=100, steps=7, held_out=30) == pytest.approx(4.0 * (100 + 10) + 9.0 * 7)


def test_evaluations_are_counted(data):
    corpus = Corpus.open(data)
    settings = replace(FAST, training=replace(FAST.training, score_targets=0, validation_sequences=5, max_tokens=10**6))
    objective = MaskedLM(corpus, settings.training)
    assert held_out_tokens(objective, settings) == VALIDATIONS * len(objective.validation_ids) * 128
    every = replace(settings, training=replace(settings.training, validate_every=10))
    assert held_out_tokens(objective, every) == objective.total_steps // 10 * len(objective.validation_ids) * 128
