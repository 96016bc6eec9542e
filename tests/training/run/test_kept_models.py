"""Models kept during training are those of a run that ended there, and the training does not notice them."""

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch.testing import assert_close

import leanformer.files as files
from leanformer.models import LeanformerForMaskedLM
from leanformer.models.saved import locate
from leanformer.settings import settings_from
from leanformer.training.pretrain import pretrain
from leanformer.training.run.record import RunDirectory

Tables = Callable[..., dict[str, Any]]
PLAN = {"schedule": "constant", "warmup": 0.0, "max_steps": 20, "validate_every": 5, "keep_checkpoints": 9}


def train(corpus: Path, out: Path, settings: Tables, **training: Any) -> Path:
    pretrain(settings_from(settings(**PLAN | training)), corpus, out, quiet=True)
    return out


def names(run: Path) -> list[str]:
    return sorted(path.name for path in (run / "kept").iterdir())


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory, corpus: Path, settings: Tables) -> Path:
    return train(corpus, tmp_path_factory.mktemp("kept") / "run", settings, keep_every=5)


def test_every_fifth_step_is_there_and_the_last_one_is_the_model(kept: Path) -> None:
    assert names(kept) == ["step-10", "step-15", "step-20", "step-5"]
    last, model = (load_file(folder / "model.safetensors") for folder in (kept / "kept/step-20", kept / "model"))
    assert_close(last, model, rtol=0, atol=0)


def test_a_kept_model_is_that_of_a_run_that_ended_there(
    kept: Path, corpus: Path, settings: Tables, tmp_path: Path, curve: Any
) -> None:
    """The file too, bit for bit; and the run that keeps models draws the curve of one that keeps none."""
    short = train(corpus, tmp_path / "short", settings, max_steps=10)
    for name in ("model.safetensors", "config.json", "tokenizer.json"):
        assert (kept / "kept/step-10" / name).read_bytes() == (short / "model" / name).read_bytes()
    plain = train(corpus, tmp_path / "plain", settings)
    assert curve(plain) == curve(kept)
    assert (plain / "model/model.safetensors").read_bytes() == (kept / "model/model.safetensors").read_bytes()
    assert not (plain / "kept").exists()


def test_transformers_and_the_commands_read_it(kept: Path) -> None:
    model = LeanformerForMaskedLM.from_pretrained(kept / "kept", subfolder="step-15")
    weights = load_file(kept / "kept/step-15/model.safetensors")
    assert_close(model.encoder.layers[0].feed_forward.up.weight, weights["encoder.layers.0.feed_forward.up.weight"])
    assert locate(kept / "kept/step-15") == kept / "kept/step-15"
    data = bytearray((kept / "kept/step-15/model.safetensors").read_bytes())
    copy = kept.parent / "damaged"
    shutil.copytree(kept / "kept/step-15", copy)
    data[-1] ^= 1
    (copy / "model.safetensors").write_bytes(data)
    with pytest.raises(ValueError, match="damaged"):
        locate(copy)


@pytest.mark.parametrize("instant", ["while it is written", "after it"])
def test_a_resumed_run_writes_none_twice_and_misses_none(
    instant: str, fork_server: Any, settings: Tables, tmp_path: Path, kept: Path
) -> None:
    """The checkpoint before step 10 is that of step 7."""
    run, tables = tmp_path / "run", settings(**PLAN, keep_every=5)
    folder = run / "kept"
    pid = fork_server.start(run, tables)
    written = {"while it is written": lambda: list(folder.glob(".step-10.*")), "after it": (folder / "step-10").exists}
    fork_server.until(lambda: written[instant]() or (folder / "step-10").exists(), pid)
    os.kill(pid, signal.SIGKILL)
    assert fork_server.wait(pid) == -signal.SIGKILL
    before = (folder / "step-5").stat().st_mtime_ns
    assert fork_server.run(run, tables, resume=True) == 0
    assert (folder / "step-5").stat().st_mtime_ns == before
    assert names(run) == names(kept)
    for name in names(kept):
        ours, undisturbed = (each / "kept" / name / "model.safetensors" for each in (run, kept))
        assert ours.read_bytes() == undisturbed.read_bytes()


def test_an_extended_run_keeps_the_models_of_its_own_steps(corpus: Path, settings: Tables, tmp_path: Path) -> None:
    """The decay of the shorter run begins after step 8, so its models of steps 9 to 10 are not the longer run's."""
    plan = PLAN | {"schedule": "warmup_stable_decay", "keep_every": 3, "checkpoint_every": 4}
    long = tmp_path / "long"
    pretrain(settings_from(settings(**plan | {"max_steps": 20})), corpus, long, quiet=True)
    run = tmp_path / "run"
    pretrain(settings_from(settings(**plan | {"max_steps": 10})), corpus, run, quiet=True)
    pretrain(None, None, run, extend=20, quiet=True)
    assert names(run) == names(long)
    for name in names(run):
        ours, planned = (each / "kept" / name / "model.safetensors" for each in (run, long))
        assert ours.read_bytes() == planned.read_bytes()


def test_a_full_disk_is_refused_before_the_run_begins(
    corpus: Path, settings: Tables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    monkeypatch.setattr(files.shutil, "disk_usage", lambda place: SimpleNamespace(free=50_000))
    with pytest.raises(ValueError, match=r"needs about 0.0 GB and .* free: make room, or raise training.keep_every$"):
        train(corpus, out, settings, keep_every=1)
    assert not out.exists()
    train(corpus, out, settings, keep_every=20, max_steps=20)
    assert names(out) == ["step-20"]


def test_a_model_that_is_not_finite_is_not_kept(corpus: Path, settings: Tables, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with pytest.raises(ArithmeticError, match="lower learning_rate"):
        train(corpus, out, settings, keep_every=1, learning_rate=1e30, log_every=50, checkpoint_every=0)
    for folder in (out / "kept").glob("step-*"):
        assert all(bool(torch.isfinite(tensor).all()) for tensor in load_file(folder / "model.safetensors").values())
    assert json.loads(RunDirectory(out).record.read_text())["status"] == "failed"
