"""Where a saved model is found, and by what record."""

import json

import pytest
from torch.testing import assert_close

from leanformer import LeanformerForMaskedLM
from leanformer.models import saved


@pytest.fixture
def run(tiny, tmp_path):
    """A folder with the record of a run, and its model in RUN/model."""
    with saved.quiet():
        LeanformerForMaskedLM(tiny()).save_pretrained(tmp_path / "model")
    (tmp_path / "run.json").write_text(json.dumps({"kind": "finetune", "status": "finished"}))
    return tmp_path


def test_a_run_and_its_models_folder_are_the_same_model(run):
    folder = run / "model"
    assert saved.locate(run) == saved.locate(folder) == folder
    assert saved.record_of(folder)["status"] == "finished"
    assert saved.name_of(run) == saved.name_of(folder) == run.name
    assert saved.class_of(folder, saved.config_of(folder)) is LeanformerForMaskedLM


def test_a_model_beside_no_record_and_a_folder_of_another_name_belong_to_no_run(run):
    moved = (run / "model").rename(run / "elsewhere")
    assert saved.locate(moved) == moved and saved.record_of(moved) is None
    with pytest.raises(FileNotFoundError, match="model is missing, its run is not finished"):
        saved.locate(run)
    (run / "run.json").unlink()
    assert saved.record_of(run / "model") is None
    with pytest.raises(FileNotFoundError, match="neither a run directory nor a model saved by save_pretrained"):
        saved.locate(run)


def test_weights_in_several_files_are_read_as_those_in_one(run, tiny, tmp_path):
    config = saved.config_of(run / "model")
    model, missing = saved.load_weights(LeanformerForMaskedLM, run / "model", config)
    assert not missing
    with saved.quiet():
        model.save_pretrained(tmp_path / "shards", max_shard_size="20KB")
    assert len(saved.weight_files(tmp_path / "shards")) > 1
    assert saved.weight_shapes(tmp_path / "shards") == saved.weight_shapes(run / "model")
    again, missing = saved.load_weights(LeanformerForMaskedLM, tmp_path / "shards", config)
    assert not missing
    assert_close(again.state_dict(), model.state_dict(), rtol=0, atol=0)
    with pytest.raises(FileNotFoundError, match="in one file"):
        saved.weights_hash(tmp_path / "shards")
