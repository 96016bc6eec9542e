"""The second text of a pair gets what every token was trained with, unless the model brings types of its own."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.testing import assert_close

from leanformer.models import LeanformerForMaskedLM
from leanformer.settings import settings_from
from leanformer.training.pretrain import pretrain

Tables = Callable[..., dict[str, Any]]
TYPES = "encoder.embeddings.token_type_embeddings.weight"


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory, corpus: Path, settings: Tables) -> Path:
    out = tmp_path_factory.mktemp("fresh") / "run"
    pretrain(settings_from(settings(max_steps=8, checkpoint_every=5)), corpus, out, quiet=True)
    return out


def saved(run: Path) -> dict[str, Tensor]:
    return load_file(run / "model/model.safetensors")


def test_a_fresh_model_saves_one_type_for_both_texts(fresh: Path) -> None:
    types = saved(fresh)[TYPES]
    assert len(types) == 2 and torch.equal(types[0], types[1]) and types.any()
    model = LeanformerForMaskedLM.from_pretrained(fresh / "model").eval()
    ids = torch.tensor([[2, 7, 9, 3, 9, 7, 3]])
    pair = model(ids, token_type_ids=torch.tensor([[0, 0, 0, 0, 1, 1, 1]])).logits
    assert_close(pair, model(ids).logits, rtol=0, atol=0)


def test_nothing_else_is_changed_by_it(
    fresh: Path, corpus: Path, settings: Tables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("leanformer.training.pretrain.follow_the_first", lambda model: None)
    pretrain(settings_from(settings(max_steps=8, checkpoint_every=5)), corpus, tmp_path / "run", quiet=True)
    as_trained, kept = saved(tmp_path / "run"), saved(fresh)
    assert [key for key in kept if not torch.equal(as_trained[key], kept[key])] == [TYPES]
    assert torch.equal(as_trained[TYPES][0], kept[TYPES][0])


@pytest.mark.parametrize("own", [False, True], ids=["one type", "types of its own"])
def test_going_on_keeps_types_apart_only_if_they_were(
    own: bool, fresh: Path, corpus: Path, settings: Tables, interrupted: Any, tmp_path: Path
) -> None:
    start = shutil.copytree(fresh / "model", tmp_path / "start", ignore=shutil.ignore_patterns("SHA256SUMS"))
    if own:
        weights = load_file(start / "model.safetensors")
        weights[TYPES][1] += 0.5
        save_file(weights, start / "model.safetensors", metadata={"format": "pt"})
    plan = {"training": settings(max_steps=4, checkpoint_every=3, weight_decay=0.0)["training"]}
    out = tmp_path / "run"
    pretrain(settings_from(plan), corpus, out, init=start, quiet=True)
    before, after = load_file(start / "model.safetensors")[TYPES], saved(out)[TYPES]
    assert not torch.equal(after[0], before[0]), "what is read is trained"
    assert torch.equal(after[1], before[1] if own else after[0])

    again = interrupted(out, tmp_path / "again")
    pretrain(None, None, again, resume=True, quiet=True)
    assert torch.equal(saved(again)[TYPES], after), "resumed after the first type has moved"
