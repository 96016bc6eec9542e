"""Masks made on a device are those of `data/masking.py`, bit for bit."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from leanformer.data.corpus import Corpus, TokenStore
from leanformer.data.masking import mask
from leanformer.data.randomness import random_bits
from leanformer.data.vocabulary import Vocabulary
from leanformer.settings import TrainingSettings
from leanformer.training.objectives.device_masks import DeviceMasks, hashed
from leanformer.training.objectives.masked_lm import MaskedLM

LENGTH, B = 31, 97
CPU = torch.device("cpu")
DEVICES = [CPU, pytest.param(torch.device("cuda"), marks=pytest.mark.gpu)]


def store(dtype: Any, size: int, special: float) -> tuple[TokenStore, Vocabulary]:
    """Tokens of which so many are special: some sequences have fewer ordinary ones than are to be masked."""
    vocabulary = Vocabulary(size, (0, 1, 2, 3, 4), pad_id=0, unk_id=1, cls_id=2, sep_id=3, mask_id=4)
    random = np.random.default_rng(0)
    tokens = random.integers(5, size, LENGTH * B + 11)
    tokens[random.random(len(tokens)) < special] = 3
    return TokenStore(tokens.astype(dtype), np.array([0, 7, 40, 41, 1000])), vocabulary


@pytest.mark.parametrize("device", DEVICES)
def test_the_bits_are_the_same(device: torch.device) -> None:
    words = np.random.default_rng(1).integers(-(2**63), 2**63, (3, 1009))
    tensors = [torch.from_numpy(word).to(device) for word in words]
    expected = random_bits(*words)
    assert_close(hashed(0, *tensors).cpu(), torch.from_numpy(expected.view(np.int64)), rtol=0, atol=0)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("special", [0.01, 0.8])
@pytest.mark.parametrize(("dtype", "size"), [(np.uint16, 59), (np.uint16, 65_536), (np.uint32, 100_003)])
@pytest.mark.parametrize(("number", "most"), [(1, 1), (5, 5), (5, 12), (LENGTH, LENGTH)])
def test_the_masks_are_the_same(
    number: int, most: int, dtype: Any, size: int, special: float, device: torch.device
) -> None:
    tokens, vocabulary = store(dtype, size, special)
    ids = np.random.default_rng(2).permutation(B)
    for seed, epoch in ((1, 0), (-1, 3), (2**40, 2**33)):
        masks = DeviceMasks(tokens, LENGTH, vocabulary, seed, device)
        expected = mask(tokens.batch(ids, LENGTH), ids, seed=seed, epoch=epoch, count=number, vocabulary=vocabulary)
        host = [torch.from_numpy(ids), torch.full((B,), epoch), torch.full((B,), number)]
        batch = {name: tensor.cpu() for name, tensor in masks.batch(*(t.to(device) for t in host), most).items()}
        surplus = ((0, 0), (0, most - number))
        arrays = {
            "input_ids": expected.corrupted,
            "masked_positions": np.pad(expected.positions, surplus),
            "labels": np.pad(expected.labels, surplus, constant_values=-100),
        }
        assert_close(batch, {name: torch.from_numpy(array) for name, array in arrays.items()}, rtol=0, atol=0)
        assert masks.num_targets(host[0], host[2]) == (expected.labels >= 0).sum()


def test_documents_are_the_same() -> None:
    tokens, vocabulary = store(np.uint16, 59, 0.1)
    ids = np.array([0, 1, 2, 40])
    numbers = tokens.document_numbers(ids, LENGTH)
    assert numbers[0].tolist() == [1] * 7 + [2] * 24 and numbers[1, 8:12].tolist() == [2, 3, 4, 4]
    ours = DeviceMasks(tokens, LENGTH, vocabulary, 1, CPU).document_numbers(torch.from_numpy(ids))
    assert_close(ours, torch.from_numpy(numbers), rtol=0, atol=0)


@pytest.mark.parametrize("document_mask", [False, True])
def test_an_objective_cached_on_the_device_asks_the_same_of_the_model(document_mask: bool, corpus: Path) -> None:
    """Also in a batch that crosses epochs, while the mask rate moves; N is then that of the widest batch."""
    settings = {"max_steps": 50, "batch_size": 22, "micro_batch_size": 9, "sequence_length": 13}
    training = settings | {"mask_rate": 0.6, "final_mask_rate": 0.1, "document_mask": document_mask}
    asked = []
    for cached in (False, True):
        one = MaskedLM(Corpus.open(corpus), TrainingSettings.of(training | {"compile": not cached}))
        if cached:
            one.device_masks = DeviceMasks(one.corpus.train, 13, one.corpus.vocabulary, 1, CPU)
        batches = [batch for step in (0, 10, 49) for batch in one.micro_batches(step, 0, 1)]
        asked.append(([one.read(batch) for batch in batches], [one.num_targets(batch) for batch in batches]))
        assert all(batch["labels"].shape[1] == round(0.6 * 13) for batch in asked[-1][0])
    assert_close(asked[1], asked[0], rtol=0, atol=0)


def test_on_a_cpu_nothing_moves(corpus: Path) -> None:
    one = MaskedLM(Corpus.open(corpus), TrainingSettings.of({"max_steps": 5, "batch_size": 22, "sequence_length": 13}))
    one.cache_on_device(CPU)
    assert one.device_masks is None


@pytest.mark.gpu
@pytest.mark.parametrize("compile", [False, True])
def test_a_step_waits_for_nothing(
    compile: bool, corpus: Path, settings: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    """torch reports every call that makes the host wait for the device; between two logged steps there is none."""
    from accelerate import Accelerator

    from leanformer.models.initialisation import initialise
    from leanformer.settings import settings_from
    from leanformer.training.loop import Loop
    from leanformer.training.objectives.table import OBJECTIVES, model_config
    from leanformer.training.run.record import RunDirectory

    some = settings_from(settings(compile=compile, precision="bf16"))
    opened = Corpus.open(corpus)
    objective, model = MaskedLM(opened, some.training), OBJECTIVES["masked_lm"].model(model_config(some, opened))
    initialise(model, 1)
    objective.cache_on_device(torch.device("cuda"))
    loop = Loop(model, objective, some.training, RunDirectory(tmp_path), Accelerator(), resume=False)
    for step in range(6):
        loop.at.step = step
        torch.cuda.set_sync_debug_mode("error" if step > 2 else "default")  # the first steps compile and allocate
        try:
            batches, info = loop.look_ahead(0)
            loop.update(batches, info.targets, 1e-3)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    loop.fetch_losses()
    assert math.isfinite(loop.at.loss)
