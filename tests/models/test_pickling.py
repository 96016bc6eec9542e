"""Whole models in a file of torch.save, and copied."""

import copy

import pytest
import torch

import leanformer
from leanformer.attention import names

KINDS = [name for name in leanformer.__all__ if name.startswith("Leanformer") and name != "LeanformerConfig"]


ROWS = [*((kind, "random+dot_product") for kind in KINDS), *(("LeanformerForMaskedLM", name) for name in names())]


@pytest.mark.parametrize(("kind", "attention"), ROWS)
def test_a_model_saved_whole_answers_alike(tiny, scattered, batch, posed, tmp_path, kind, attention):
    encodes_and_writes = kind == "LeanformerForConditionalGeneration"
    model = scattered(getattr(leanformer, kind)(tiny(attention=attention, is_encoder_decoder=encodes_and_writes)))
    inputs = posed(model, batch) | ({"decoder_input_ids": batch["input_ids"]} if encodes_and_writes else {})
    torch.save(model, tmp_path / "model.pt")
    for again in (torch.load(tmp_path / "model.pt", weights_only=False), copy.deepcopy(model)):
        asked = inputs | {"output_attentions": True, "output_hidden_states": True}
        for key, value in model(**asked).items():
            if isinstance(value, torch.Tensor):
                assert torch.equal(again(**asked)[key], value), key
        assert again.all_tied_weights_keys == model.all_tied_weights_keys
