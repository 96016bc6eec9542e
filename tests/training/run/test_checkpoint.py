"""What is written is what is read, or it is refused by name."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from leanformer import files
from leanformer.settings import TrainingSettings
from leanformer.training.optimizers.parameter_groups import make_optimizer
from leanformer.training.run.checkpoint import Checkpoints, Progress, read_state


class Tied(nn.Module):
    """A tied weight, a persistent buffer, one that is not."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.head = nn.Embedding(7, 3), nn.Linear(3, 7)
        self.head.weight = self.table.weight
        self.register_buffer("fixed", torch.randn(2))
        self.register_buffer("cache", torch.randn(2), persistent=False)


def trained(seed: int) -> tuple[Tied, torch.optim.Optimizer]:
    torch.manual_seed(seed)
    model = Tied()
    optimizer = make_optimizer(model, TrainingSettings())
    for _ in range(3):
        optimizer.zero_grad()
        model.head(model.table(torch.tensor([1, 2]))).square().sum().backward()
        optimizer.step()
    return model, optimizer


@pytest.fixture
def checkpoints(tmp_path: Path) -> Checkpoints:
    """Of the steps 5 and 11."""
    checkpoints = Checkpoints(tmp_path / "checkpoint", keep=2)
    for step in (2, 5, 11):
        model, optimizer = trained(step)
        checkpoints.save(model, optimizer, Progress(step=step, seconds=1.5 * step, loss=0.1, targets=3, curve_bytes=7))
    return checkpoints


def test_what_is_restored_is_what_was_saved(checkpoints: Checkpoints) -> None:
    model, optimizer = trained(1)
    assert checkpoints.restore(model, optimizer) == Progress(11, 16.5, 0.0, 0.1, 3, 7)
    saved, saved_optimizer = trained(11)
    assert_close(model.state_dict(), saved.state_dict(), rtol=0, atol=0)
    assert_close(optimizer.state_dict()["state"], saved_optimizer.state_dict()["state"], rtol=0, atol=0)
    assert model.head.weight is model.table.weight


def test_energy_is_restored_and_unknown_of_a_checkpoint_that_does_not_know_it(checkpoints: Checkpoints) -> None:
    model, optimizer = trained(13)
    checkpoints.save(model, optimizer, Progress(step=13, joules=2.5, energy_source="RAPL package-0"))
    restored = checkpoints.restore(model, optimizer)
    assert (restored.joules, restored.energy_source) == (2.5, "RAPL package-0")
    state = checkpoints.path(13) / "state.json"
    old = {key: value for key, value in json.loads(state.read_text()).items() if key not in ("joules", "energy_source")}
    state.write_text(json.dumps(old))
    read = read_state(checkpoints.path(13), "restore it")
    assert read["joules"] is None and read["energy_source"] == "a checkpoint from before energy was counted"


def test_only_the_newest_are_kept(checkpoints: Checkpoints) -> None:
    assert [p.name for p in checkpoints.all()] == ["step-00000005", "step-00000011"]
    assert sorted(p.name for p in checkpoints.folder.iterdir()) == ["step-00000005", "step-00000011"]


def test_without_a_checkpoint_a_run_starts_over(tmp_path: Path) -> None:
    assert Checkpoints(tmp_path / "none").restore(*trained(1)) == Progress()


def test_there_is_no_pickle_in_it(checkpoints: Checkpoints) -> None:
    assert {p.suffix for p in checkpoints.path(11).iterdir()} == {".safetensors", ".json", ""}


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def edit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [truncate, edit, Path.unlink])
@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "state.json", "SHA256SUMS"])
def test_a_damaged_file_is_refused_and_the_checkpoint_before_offered(
    name: str, damage: Callable[[Path], Any], checkpoints: Checkpoints
) -> None:
    model, optimizer = trained(1)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    damage(checkpoints.path(11) / name)
    with pytest.raises(ValueError) as caught:
        checkpoints.restore(model, optimizer)
    message = str(caught.value)
    assert message.startswith(str(checkpoints.path(11))) and "\n" not in message
    assert name in message or name == "SHA256SUMS"
    assert message.endswith(f"remove {checkpoints.path(11)} to resume from step-00000005, the one before it")
    assert_close(model.state_dict(), before, rtol=0, atol=0)

    files.remove_directory(checkpoints.path(11))
    assert checkpoints.restore(model, optimizer).step == 5


def test_the_only_checkpoint_damaged_means_starting_over(checkpoints: Checkpoints) -> None:
    files.remove_directory(checkpoints.path(5))
    truncate(checkpoints.path(11) / "model.safetensors")
    with pytest.raises(ValueError, match=r"remove .*step-00000011 to start over at step 0$"):
        checkpoints.restore(*trained(1))


def test_a_checkpoint_of_another_model_is_refused(checkpoints: Checkpoints) -> None:
    model = nn.Linear(3, 7)
    with pytest.raises(ValueError, match=r"does not fit this run \(it and the model disagree about bias\)"):
        checkpoints.restore(model, make_optimizer(model, TrainingSettings()))


def test_an_unfinished_write_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept/old").touch()
    with pytest.raises(ZeroDivisionError), files.new_directory(tmp_path / "kept") as folder:
        (folder / "new").touch()
        _ = 1 / 0
    assert [p.name for p in tmp_path.rglob("*")] == ["kept", "old"]

    with files.new_directory(tmp_path / "kept") as folder:
        (folder / "new").touch()
    assert [p.name for p in tmp_path.rglob("*")] == ["kept", "new"]


def test_leftovers_are_removed_and_nothing_else(tmp_path: Path) -> None:
    for name in (".run.json.tmp", ".model.old", "run.json", ".other.tmp"):
        (tmp_path / name).touch()
    files.remove_leftovers(tmp_path, "run.json")
    files.remove_leftovers(tmp_path, "model")
    assert sorted(p.name for p in tmp_path.iterdir()) == [".other.tmp", "run.json"]
