"""The objective: every sequence once an epoch, whoever asks; masks that a resumed or split run finds again."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from leanformer.data.corpus import Corpus
from leanformer.settings import TrainingSettings
from leanformer.training.objectives.masked_lm import MaskedLM

LENGTH = 13


@pytest.fixture
def objective(corpus: Path) -> Callable[..., MaskedLM]:
    def make(**training: Any) -> MaskedLM:
        settings = {"max_steps": 50, "batch_size": 22, "sequence_length": LENGTH, "validation_sequences": 17}
        return MaskedLM(Corpus.open(corpus), TrainingSettings.of(settings | training))

    return make


def joined(batches: Any) -> dict[str, torch.Tensor]:
    batches = list(batches)
    return {name: torch.cat([batch[name] for batch in batches]) for name in batches[0]}


def original(batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """(B, L) the sequences before they were corrupted."""
    kept = batch["input_ids"].gather(1, batch["masked_positions"])
    labels = torch.where(batch["labels"] < 0, kept, batch["labels"])
    return batch["input_ids"].scatter(1, batch["masked_positions"], labels)


def test_an_epoch_holds_every_sequence_once(objective: Callable[..., MaskedLM]) -> None:
    one = objective()
    store = one.corpus.train
    total = store.sequences(LENGTH)
    steps = -(-2 * total // 22)
    seen = original(joined(batch for step in range(steps) for batch in one.micro_batches(step, 0, 1)))
    every = sorted(store.batch(np.arange(total), LENGTH).tolist())
    first, second = seen[:total].tolist(), seen[total : 2 * total].tolist()
    assert sorted(first) == sorted(second) == every
    assert first != second


@pytest.mark.parametrize(("world", "micro_batch_size"), [(1, 1), (1, 9), (2, None), (2, 4), (11, 1)])
def test_the_global_batch_does_not_depend_on_its_cut(
    world: int, micro_batch_size: int | None, objective: Callable[..., MaskedLM]
) -> None:
    step = 10  # the eleventh batch crosses into the second epoch: there are 230 sequences
    whole = joined(objective().micro_batches(step, 0, 1))
    one = objective(micro_batch_size=micro_batch_size)
    shares = [one.micro_batches(step, rank, world) for rank in range(world)]
    assert_close(joined(batch for share in shares for batch in share), whole, rtol=0, atol=0)
    assert len({len(share) for share in shares}) == 1
    assert max(len(b["labels"]) for share in shares for b in share) <= (micro_batch_size or 22)


def test_the_seed_orders_and_masks_the_training_data_only(objective: Callable[..., MaskedLM]) -> None:
    one, other = objective(seed=1, mask_rate=0.15), objective(seed=2, mask_rate=0.4)
    first, second = (original(joined(o.micro_batches(0, 0, 1))) for o in (one, other))
    assert not torch.equal(first, second)
    assert_close(joined(one.validation_batches(0, 1)), joined(other.validation_batches(0, 1)), rtol=0, atol=0)


def test_validation_masks_are_frozen_and_training_masks_are_not(
    objective: Callable[..., MaskedLM],
) -> None:
    one = objective(batch_size=230)
    assert_close(joined(one.validation_batches(0, 1)), joined(one.validation_batches(0, 1)), rtol=0, atol=0)
    first, second = (joined(one.micro_batches(step, 0, 1)) for step in (0, 1))
    rank = [torch.from_numpy(np.lexsort(original(batch).numpy().T)) for batch in (first, second)]
    assert torch.equal(original(first)[rank[0]], original(second)[rank[1]])
    assert not torch.equal(first["masked_positions"][rank[0]], second["masked_positions"][rank[1]])


def test_validation_is_spread_over_the_held_out_text_and_shared_out(objective: Callable[..., MaskedLM]) -> None:
    one = objective(validation_sequences=5)
    total = one.corpus.valid.sequences(LENGTH)
    assert one.validation_ids.tolist() == [0, 6, 12, 18, 24] and total == 30
    everything = objective(validation_sequences=None)
    assert everything.validation_ids.tolist() == list(range(total))
    everything.validation_ids = np.arange(total).repeat(5)
    shares = [batch for rank in range(3) for batch in everything.validation_batches(rank, 3)]
    assert sum(len(batch["labels"]) for batch in shares) == 5 * total


def test_the_mask_rate_moves_linearly(objective: Callable[..., MaskedLM]) -> None:
    one = objective(mask_rate=0.6, final_mask_rate=0.1, max_steps=50)
    counts = [one.count(step) for step in range(50)]
    assert counts[0] == 8 and counts[25] == round(0.35 * LENGTH) and counts[49] == round(0.11 * LENGTH)
    assert counts == sorted(counts, reverse=True)
    assert one.micro_batches(25, 0, 1)[0]["labels"].shape == (22, counts[25])


def test_the_floor_is_the_entropy_of_what_is_seen(objective: Callable[..., MaskedLM]) -> None:
    floor = objective(validation_sequences=None).floor()
    assert 2 < floor["context_free"] < floor["unigram"] < np.log(18) + 0.1


@pytest.mark.parametrize(
    ("training", "message"),
    [
        (
            {"sequence_length": 402, "batch_size": 7},
            r"401 validation tokens, not enough for 1 x 402: prepare more text, or lower",
        ),
        ({"batch_size": 231}, r"3,001 training tokens, not enough for 231 x 13: prepare more text, or lower"),
    ],
)
def test_what_does_not_fit_the_corpus_is_refused(
    training: dict[str, Any], message: str, objective: Callable[..., MaskedLM]
) -> None:
    with pytest.raises(ValueError, match=message):
        objective(**training)


def test_a_batch_must_divide_over_the_processes(corpus: Path) -> None:
    with pytest.raises(ValueError, match=r"^training.batch_size = 22: must be divisible by the 3 processes$"):
        MaskedLM(Corpus.open(corpus), TrainingSettings(batch_size=22, sequence_length=LENGTH), world=3)
