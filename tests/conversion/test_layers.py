"""A model with some of its layers, against one from which the others were taken out by hand."""

import re

import pytest
import torch
from torch.testing import assert_close

import leanformer as lf
from leanformer import LeanformerForCausalLM, LeanformerForMaskedLM, LeanformerModel
from leanformer.evaluation.pretrained import load_as_saved


@pytest.mark.parametrize("kind", [LeanformerForMaskedLM, LeanformerModel])
def test_the_kept_layers_are_the_sources(kind, tiny, scattered, batch, tmp_path):
    source = scattered(kind(tiny(num_hidden_layers=4))).eval()
    source.save_pretrained(tmp_path / "source")
    model = lf.convert(tmp_path / "source", out=tmp_path / "kept", keep_layers=[1, 4])
    assert model.record["notes"][-1] == "layers kept: 1,4 of 4"
    kept = load_as_saved(tmp_path / "kept")
    assert kept.config.num_hidden_layers == 2

    shallow = kind(tiny(num_hidden_layers=2)).eval()
    state = {key: tensor for key, tensor in source.state_dict().items() if not re.search(r"layers\.[12]\.", key)}
    shallow.load_state_dict({key.replace("layers.3.", "layers.1."): tensor for key, tensor in state.items()})
    with torch.no_grad():
        assert_close(kept(**batch)[0], shallow(**batch)[0], rtol=0, atol=0)


def test_another_attention_comes_after_the_choice_of_layers(tiny, scattered, tmp_path):
    scattered(LeanformerForMaskedLM(tiny(num_hidden_layers=4))).save_pretrained(tmp_path / "source")
    model = lf.convert(tmp_path / "source", out=tmp_path / "kept", keep_layers=[2, 3, 4], attention="symmetric")
    assert [row["layer"] for row in model.record["layers"]] == [1, 2, 3]


@pytest.mark.parametrize("settings", [{"layer_sharing": "all"}, {"positions": "rotary", "sliding_window": 4}])
def test_layers_that_are_not_alike_are_kept_together(settings, tiny, scattered, tmp_path):
    scattered(LeanformerForMaskedLM(tiny(num_hidden_layers=4, **settings))).save_pretrained(tmp_path / "source")
    with pytest.raises(ValueError, match="--keep-layers: (layers of this model share|the layers of this model differ)"):
        lf.convert(tmp_path / "source", out=tmp_path / "kept", keep_layers=[1, 2])


@pytest.mark.parametrize("layers", [[], [0, 1], [2, 1], [1, 1], [1, 5]])
def test_layers_that_are_not_there_or_out_of_order(layers, tiny, scattered, tmp_path):
    scattered(LeanformerForMaskedLM(tiny(num_hidden_layers=4))).save_pretrained(tmp_path / "source")
    with pytest.raises(ValueError, match=r"--keep-layers .*name some of the layers 1 to 4"):
        lf.convert(tmp_path / "source", out=tmp_path / "kept", keep_layers=layers)
    assert not (tmp_path / "kept").exists()


def test_a_decoder_keeps_its_layers(tiny, scattered, tmp_path):
    scattered(LeanformerForCausalLM(tiny(num_hidden_layers=2))).save_pretrained(tmp_path / "source")
    with pytest.raises(ValueError, match="is for encoders"):
        lf.convert(tmp_path / "source", out=tmp_path / "kept", keep_layers=[1])
