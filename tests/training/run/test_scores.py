"""The score of a finished run: each sequence's loss against plain cross entropy, and which sequences are asked."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from torch.nn import functional as F

from leanformer.data.corpus import Corpus
from leanformer.data.pairs import PairCorpus
from leanformer.records.scores import read_losses
from leanformer.settings import TrainingSettings, settings_from
from leanformer.training.objectives.causal_lm import CausalLM
from leanformer.training.objectives.masked_lm import MaskedLM
from leanformer.training.objectives.protocol import PretrainingObjective
from leanformer.training.objectives.seq2seq import Seq2Seq
from leanformer.training.objectives.table import OBJECTIVES, model_config
from leanformer.training.run.scores import DRAWS, plan, score

SIZES = {"hidden_size": 14, "num_hidden_layers": 1, "num_attention_heads": 7, "intermediate_size": 29}
MASKED = 2
"""15 % of 13 tokens."""


def objective_of(name: str, data: Path, **more: Any) -> PretrainingObjective:
    length = 31 if name == "seq2seq" else 13
    settings = TrainingSettings.of(
        {"objective": name, "max_steps": 5, "batch_size": 7, "sequence_length": length, **more}
    )
    if name == "seq2seq":
        return Seq2Seq(PairCorpus.open(data), settings)
    return {"masked_lm": MaskedLM, "causal_lm": CausalLM}[name](Corpus.open(data), settings)


def model_of(name: str, objective: Any) -> Any:
    settings = settings_from({"model": SIZES, "training": {"objective": name, "sequence_length": 31}})
    torch.manual_seed(0)
    return OBJECTIVES[name].model(model_config(settings, objective.corpus)).eval()


def scored(name: str, data: Path, targets: int, out: Path, **more: Any) -> tuple[Any, Any, dict[str, Any]]:
    objective = objective_of(name, data, **more)
    model = model_of(name, objective)
    return objective, model, score(model, objective, targets, out, Accelerator(cpu=True), None)


@pytest.fixture
def data(corpus: Path, pairs: Path) -> Callable[[str], Path]:
    return lambda name: pairs if name == "seq2seq" else corpus


@pytest.mark.parametrize("name", ["masked_lm", "causal_lm", "seq2seq"])
def test_every_sequence_has_its_cross_entropy(name: str, data: Callable[[str], Path], tmp_path: Path) -> None:
    objective, model, records = scored(name, data(name), 10**6, tmp_path / "scores")
    assert {"masked_lm": ["valid"], "causal_lm": ["valid"], "seq2seq": ["valid", "test"]}[name] == list(records)
    for part, record in records.items():
        held_out = objective.held_out()[part]
        found = read_losses(tmp_path / "scores" / f"{part}.npz", record["sha256"], "restore it")
        losses, targets = np.zeros(held_out.size), np.zeros(held_out.size, int)
        for draw in range(record["draws"]):
            batch = held_out.batch(np.arange(held_out.size), draw)
            with torch.no_grad():
                logits, labels = held_out.predictions(model, batch)
            for i, (row, asked) in enumerate(zip(logits.double(), labels, strict=True)):
                losses[i] += F.cross_entropy(row, asked, ignore_index=-100, reduction="sum").item()
                targets[i] += int((asked != -100).sum())
        np.testing.assert_allclose(found.losses, losses, rtol=2e-6)
        assert found.targets.tolist() == targets.tolist()
        assert found.sequences.tolist() == list(range(held_out.size))
        assert record["loss"] == pytest.approx(losses.sum() / targets.sum(), rel=1e-6)
        assert (record["targets"], record["sequences"], record["whole"]) == (targets.sum(), held_out.size, True)
        assert record["draws"] == (DRAWS if name == "masked_lm" else 1)


def test_the_score_of_the_frozen_masks_is_the_loss_of_validation(corpus: Path, tmp_path: Path) -> None:
    """The curve's last point and the score are the same number where they ask for the same targets."""
    once = 4 * 30 * MASKED  # the validation part gets a quarter
    objective, model, records = scored("masked_lm", corpus, once, tmp_path / "scores", validation_sequences=None)
    with torch.no_grad():
        batches = list(objective.validation_batches(0, 1))
        total = sum(objective.loss_sum(model, batch).item() for batch in batches)
    assert records["valid"]["draws"] == 1
    assert records["valid"]["loss"] == pytest.approx(total / sum(map(objective.num_targets, batches)), rel=1e-6)
    assert records["valid"]["context_free"] == pytest.approx(objective.floor()["context_free"])


def test_neither_the_seed_nor_the_mask_rate_of_a_run_has_a_say(corpus: Path, tmp_path: Path) -> None:
    one = scored("masked_lm", corpus, 10**6, tmp_path / "a", seed=1, mask_rate=0.15)[2]
    other = scored("masked_lm", corpus, 10**6, tmp_path / "b", seed=2, mask_rate=0.4)[2]
    assert one == other


@pytest.mark.parametrize(
    "targets, sequences, draws",
    [(0, 0, 1), (1, 1, 1), (20, 10, 1), (60, 30, 1), (61, 30, 2), (200, 30, 4), (10**9, 30, DRAWS)],
)
def test_distinct_sequences_come_first_then_more_draws(targets: int, sequences: int, draws: int, corpus: Path) -> None:
    part = objective_of("masked_lm", corpus).held_out()["valid"]
    ids, drawn = plan(part, targets)
    assert (len(ids), drawn) == (sequences, draws)
    assert len(set(ids.tolist())) == sequences and part.size == 30
    if sequences == 10:
        assert ids.tolist() == list(range(0, 30, 3))


def test_the_floor_is_that_of_all_draws(corpus: Path) -> None:
    part = objective_of("masked_lm", corpus).held_out()["valid"]
    ids = np.arange(part.size)
    each = [part.floor(ids, draws)["context_free"] for draws in (1, 2)]
    second = 2 * each[1] - each[0]  # as many targets in each draw
    assert abs(second - each[0]) < 0.3 and second != each[0]


def test_documents_are_where_the_sequences_begin(corpus: Path) -> None:
    part = objective_of("causal_lm", corpus).held_out()["valid"]
    assert part.documents(np.arange(30)).tolist() == [1 + 13 * i // 97 for i in range(30)]


def test_two_processes_share_the_sequences(fork_server: Any, settings: Any, tmp_path: Path) -> None:
    tables = settings({"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}, max_steps=3)
    assert fork_server.run(tmp_path / "one", tables) == 0
    assert fork_server.run_two(tmp_path / "two", tables) == [0, 0]
    one, two = (
        json.loads((tmp_path / n / "run.json").read_text())["results"]["scores"]["valid"] for n in ("one", "two")
    )
    assert one["targets"] == two["targets"] and one["loss"] == pytest.approx(two["loss"], rel=1e-5)
    ours, theirs = (
        read_losses(tmp_path / n / "scores/valid.npz", s["sha256"], "") for n, s in (("one", one), ("two", two))
    )
    np.testing.assert_allclose(ours.losses, theirs.losses, rtol=1e-4)


@pytest.mark.parametrize("change", ["missing", "flipped", "short"])
def test_damaged_losses_are_refused(change: str, corpus: Path, tmp_path: Path) -> None:
    _, _, records = scored("masked_lm", corpus, 100, tmp_path / "scores")
    file = tmp_path / "scores/valid.npz"
    if change == "missing":
        file.unlink()
        with pytest.raises(FileNotFoundError, match="valid.npz is missing, though its run is scored: restore it"):
            read_losses(file, records["valid"]["sha256"], "restore it")
        return
    content = bytearray(file.read_bytes())
    content[40] ^= 1
    file.write_bytes(bytes(content) if change == "flipped" else bytes(content[:50]))
    with pytest.raises(ValueError, match="valid.npz is damaged .*: restore it"):
        read_losses(file, records["valid"]["sha256"], "restore it")
