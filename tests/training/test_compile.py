"""A run is compiled once: one graph, whatever the step asks for."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator

from leanformer.data.corpus import Corpus
from leanformer.settings import settings_from
from leanformer.training.loop import fit
from leanformer.training.objectives.masked_lm import MaskedLM
from leanformer.training.objectives.table import OBJECTIVES, model_config
from leanformer.training.run.record import RunDirectory

COMPILE = torch.compile


@pytest.mark.parametrize("training", [{"mask_rate": 0.6, "final_mask_rate": 0.1}, {"document_mask": True}])
def test_a_run_is_one_graph(
    training: dict[str, Any],
    corpus: Path,
    settings: Callable[..., dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With dropout and validations between the steps. Captured, not translated: that would take minutes."""
    monkeypatch.setattr(torch, "compile", lambda model, **options: COMPILE(model, backend="eager", **options))
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    some = settings_from(settings(compile=True, max_steps=6, micro_batch_size=None, validate_every=2, **training))
    opened = Corpus.open(corpus)
    directory = RunDirectory(tmp_path)
    directory.write({"kind": "test", "status": "running"})
    model = OBJECTIVES["masked_lm"].model(model_config(some, opened))
    fit(model, MaskedLM(opened, some.training), some.training, directory, accelerator=Accelerator(), quiet=True)
    counters = torch._dynamo.utils.counters
    assert counters["stats"]["unique_graphs"] == 1
    assert not counters["graph_break"] and not counters["recompiles"]
