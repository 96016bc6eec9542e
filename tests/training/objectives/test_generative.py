"""Causal LM and seq2seq: what is asked of the model, which pairs meet when, and a resumed run's curve."""

import shutil

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from leanformer.data.corpus import Corpus
from leanformer.data.pairs import PairCorpus
from leanformer.settings import TrainingSettings, settings_from
from leanformer.training.objectives.causal_lm import CausalLM
from leanformer.training.objectives.seq2seq import Seq2Seq
from leanformer.training.objectives.table import OBJECTIVES, model_config
from leanformer.training.pretrain import pretrain
from leanformer.training.run.record import RunDirectory

SIZES = {"hidden_size": 14, "num_hidden_layers": 1, "num_attention_heads": 7, "intermediate_size": 29}


def seq2seq(pairs, **training):
    small = {"objective": "seq2seq", "max_steps": 50, "batch_size": 22, "sequence_length": 31}
    return Seq2Seq(PairCorpus.open(pairs), TrainingSettings.of(small | training))


def model_of(objective, name, **config):
    settings = settings_from({"model": SIZES | config, "training": {"objective": name, "sequence_length": 13}})
    torch.manual_seed(0)
    return OBJECTIVES[name].model(model_config(settings, objective.corpus)).eval()


@torch.no_grad()
def test_a_causal_model_is_asked_for_the_next_token(corpus):
    objective = CausalLM(Corpus.open(corpus), TrainingSettings(max_steps=5, batch_size=7, sequence_length=13))
    (batch,) = objective.micro_batches(0, 0, 1)
    tokens = batch["input_ids"]
    assert objective.num_targets(batch) == 7 * 12
    model = model_of(objective, "causal_lm")
    logits = model(tokens).logits.double()
    by_hand = F.cross_entropy(logits[:, :-1].reshape(-1, logits.shape[-1]), tokens[:, 1:].reshape(-1), reduction="sum")
    assert_close(objective.loss_sum(model, batch).double(), by_hand, rtol=1e-5, atol=0)


def test_the_floor_of_a_causal_model_is_the_cross_entropy_of_frequencies(corpus):
    data = Corpus.open(corpus)
    settings = TrainingSettings(max_steps=5, batch_size=7, sequence_length=13, validation_sequences=None)
    counts = np.bincount(data.train.tokens, minlength=23) + 1
    targets = np.asarray(data.valid.tokens[: 13 * (401 // 13)]).reshape(-1, 13)[:, 1:]
    loss = -np.log(counts[targets] / counts.sum()).mean()
    assert CausalLM(data, settings).floor() == pytest.approx({"context_free": loss, "unigram": loss})


@torch.no_grad()
def test_a_target_is_asked_for_token_by_token(pairs):
    objective = seq2seq(pairs)
    (batch,) = objective.micro_batches(0, 0, 1)
    labels, cls = batch["labels"], objective.corpus.cls_id
    model = model_of(objective, "seq2seq", label_smoothing=0.3)
    read = torch.cat([torch.full((22, 1), cls), labels[:, :-1].clamp(min=0)], 1)
    logits = model(batch["input_ids"], batch["attention_mask"], decoder_input_ids=read).logits.double()
    by_hand = F.cross_entropy(logits.reshape(-1, logits.shape[-1]), labels.reshape(-1), reduction="sum")
    assert_close(objective.loss_sum(model, batch).double(), by_hand, rtol=1e-5, atol=0)
    assert objective.num_targets(batch) == int((labels >= 0).sum())


def rows(objective, step, world=1):
    """The targets of a step, as a multiset."""
    batches = [batch for rank in range(world) for batch in objective.micro_batches(step, rank, world)]
    return sorted(tuple(t for t in row if t >= 0) for batch in batches for row in batch["labels"].tolist())


def test_every_pair_is_read_once_an_epoch(pairs):
    objective = seq2seq(pairs, batch_size=449, max_steps=2)
    everything = [objective.corpus.train.batch(np.array([i]), 31, 0).targets[0] for i in range(449)]
    assert sorted(rows(objective, 0) + rows(objective, 1)) == sorted(2 * [tuple(row.tolist()) for row in everything])


@pytest.mark.parametrize(("world", "micro_batch_size"), [(1, 5), (2, None), (11, 1)])
def test_a_batch_of_pairs_does_not_depend_on_its_cut(pairs, world, micro_batch_size):
    assert rows(seq2seq(pairs, micro_batch_size=micro_batch_size), 17, world) == rows(seq2seq(pairs), 17)


def test_a_step_counts_its_target_tokens(pairs):
    objective = seq2seq(pairs, max_steps=None, max_tokens=10_000)
    mean = objective.corpus.train.lengths(31)[1].mean()
    assert objective.tokens_per_step == round(22 * mean)
    assert objective.total_steps == -(-10_000 // objective.tokens_per_step)
    targets = [objective.num_targets(batch) for step in range(32) for batch in objective.micro_batches(step, 0, 1)]
    assert np.mean(targets) == pytest.approx(objective.tokens_per_step, rel=0.05)
    assert seq2seq(pairs, sequence_length=4).data["truncated"]["train"]["target"] > 0


def test_validation_asks_for_every_frozen_pair_once(pairs):
    one, other = seq2seq(pairs, seed=1), seq2seq(pairs, seed=2, batch_size=3)
    wanted = int(one.corpus.valid.lengths(31)[1].sum())
    for objective in (one, other):
        batches = [batch for rank in range(3) for batch in objective.validation_batches(rank, 3)]
        assert sum(map(objective.num_targets, batches)) == wanted
    assert one.floor() == other.floor()


@pytest.mark.parametrize("name", ["causal_lm", "seq2seq"])
def test_a_killed_run_resumes_to_the_same_bits(name, pairs, corpus, tmp_path, curve):
    training = {"objective": name, "max_steps": 9, "batch_size": 6, "micro_batch_size": 4, "sequence_length": 13}
    training |= {"log_every": 1, "validate_every": 3, "checkpoint_every": 4, "precision": "fp32", "threads": 1}
    settings = settings_from({"model": SIZES | {"label_smoothing": 0.1}, "training": training})
    data = pairs if name == "seq2seq" else corpus
    record = pretrain(settings, data, tmp_path / "whole", quiet=True)
    assert record["floor"]["context_free"] > 0 and record["results"]["steps"] == 9
    shutil.copytree(tmp_path / "whole", tmp_path / "killed")
    shutil.rmtree(tmp_path / "killed/model")
    shutil.rmtree(tmp_path / "killed/checkpoint/step-00000008")
    RunDirectory(tmp_path / "killed").update(status="running", results=None)
    pretrain(None, None, tmp_path / "killed", resume=True, quiet=True)
    assert curve(tmp_path / "killed") == curve(tmp_path / "whole")
    ours, theirs = ((tmp_path / run / "model/model.safetensors").read_bytes() for run in ("killed", "whole"))
    assert ours == theirs


def test_a_seq2seq_run_says_what_it_read(pairs, tmp_path):
    with pytest.raises(ValueError, match="449 training pairs, not enough for training.batch_size = 450"):
        seq2seq(pairs, batch_size=450)
    with pytest.raises(ValueError, match="leave no room for text"):
        seq2seq(pairs, sequence_length=2)
    assert seq2seq(pairs).data["task"] == "multi30k_ende"
