"""Trackers of accelerate beside the curve, none of which needs a network."""

import sqlite3

import pytest

from leanformer.settings import TrainingSettings
from leanformer.training.run.trackers import make_accelerator, start_trackers

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::UserWarning")


def tracked(log_with, run):
    run.mkdir()
    settings = TrainingSettings(log_with=log_with)
    accelerator = make_accelerator(settings, run)
    start_trackers(accelerator, settings, 0)
    for step in (1, 2):
        accelerator.log({"train_loss": 1 / step}, step=step)
    accelerator.end_training()


def test_trackio_keeps_the_curve_on_this_machine(tmp_path, monkeypatch):
    pytest.importorskip("trackio")
    for module in ("utils", "sqlite_storage"):
        monkeypatch.setattr(f"trackio.{module}.TRACKIO_DIR", tmp_path / "trackio")
    tracked("trackio", tmp_path / "small-run")
    (database,) = (tmp_path / "trackio").glob("leanformer*.db")
    with sqlite3.connect(database) as connection:
        rows = connection.execute("select run_name, step, metrics from metrics order by step").fetchall()
    assert [(name, step) for name, step, _ in rows] == [("small-run", 1), ("small-run", 2)]


def test_weights_and_biases_works_offline_in_the_run(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    tracked("wandb", tmp_path / "run")
    assert list((tmp_path / "run" / "wandb").glob("offline-run-*/run-*.wandb"))


def test_a_tracker_that_cannot_start_is_one_line(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise RuntimeError("no API key configured\nmore")

    settings = TrainingSettings(log_with="tensorboard")
    accelerator = make_accelerator(settings, tmp_path)
    monkeypatch.setattr(accelerator, "init_trackers", refuse)
    with pytest.raises(ValueError, match=r"'tensorboard' does not start \(no API key configured\)"):
        start_trackers(accelerator, settings, 0)


@pytest.mark.parametrize("name", ["trackio", "wandb", "tensorboard"])
def test_a_missing_package_is_one_line(name, tmp_path, monkeypatch):
    monkeypatch.setattr("accelerate.tracking._available_trackers", [])
    monkeypatch.setattr("accelerate.tracking.get_available_trackers", lambda: [], raising=False)
    with pytest.raises(ValueError, match=f"^training.log_with = '{name}': not installed: pip install -e "):
        make_accelerator(TrainingSettings(log_with=name), tmp_path)
