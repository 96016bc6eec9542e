"""Blocks are computed again in the backward pass, with the same dropout, and the run is the one without it."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from leanformer.models.blocks import FeedForward
from leanformer.settings import settings_from
from leanformer.training.pretrain import pretrain


def test_the_run_is_the_same_and_blocks_are_computed_twice(
    corpus: Path, settings: Any, tmp_path: Path, curve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, forward = Counter[str](), FeedForward.forward
    name = ""

    def counted(module: FeedForward, x: Any) -> Any:
        calls[name] += module.training
        return forward(module, x)

    monkeypatch.setattr(FeedForward, "forward", counted)
    for name, chosen in (("plain", False), ("checkpointed", True)):
        tables = settings(max_steps=19, activation_checkpointing=chosen)
        pretrain(settings_from(tables), corpus, tmp_path / name, quiet=True)
    assert calls["checkpointed"] == 2 * calls["plain"] > 0
    assert curve(tmp_path / "checkpointed") == curve(tmp_path / "plain")
    models = [tmp_path / each / "model" / file for file in ("config.json", "model.safetensors") for each in calls]
    assert models[0].read_bytes() == models[1].read_bytes() and models[2].read_bytes() == models[3].read_bytes()
