"""Conversion to shared layers: starts are means or first layers by hand, and shared weights can be parted again."""

import json

import pytest
import torch
from safetensors.torch import load_file
from torch.testing import assert_close

from leanformer import LeanformerForMaskedLM
from leanformer.conversion.convert import convert
from leanformer.conversion.layer_sharing import share_layers


@pytest.fixture
def deep(tiny, sharp):
    return sharp(LeanformerForMaskedLM(tiny(num_hidden_layers=5)))


def test_blocks_start_as_means_of_the_layers_they_replace(deep):
    key = "attention.projection.key.weight"
    tensors = [layer.get_parameter(key) for layer in deep.encoder.layers]
    for plan, groups in (
        ("all", [[0, 1, 2, 3, 4]]),
        ("blocks:2", [[0, 1, 2], [3, 4]]),
        ("cycle:2", [[0, 2, 4], [1, 3]]),
    ):
        for start in ("mean", "first"):
            shared = share_layers(deep, plan, start)
            for layer, group in zip(shared.encoder.layers, groups, strict=True):
                group = group if start == "mean" else group[:1]
                assert_close(layer.get_parameter(key), sum(tensors[number] for number in group) / len(group))


def test_one_part_is_shared_and_the_rest_is_each_layers_own(deep):
    shared = share_layers(deep, "feed_forward")
    assert_close(
        shared.encoder.layers[0].feed_forward.up.bias,
        torch.stack([layer.feed_forward.up.bias for layer in deep.encoder.layers]).mean(0),
    )
    for old, new in zip(deep.encoder.layers, shared.encoder.layers, strict=True):
        assert new.feed_forward is shared.encoder.layers[0].feed_forward
        assert torch.equal(old.attention.output.weight, new.attention.output.weight)
        assert torch.equal(old.feed_forward_norm.weight, new.feed_forward_norm.weight)


def test_equal_layers_lose_nothing(deep, batch):
    state = deep.encoder.layers[0].state_dict()
    for layer in deep.encoder.layers:
        layer.load_state_dict(state)
    for plan in ("all", "blocks:3", "cycle:2", "attention", "feed_forward"):
        shared = share_layers(deep, plan)
        assert_close(shared(**batch).logits, deep(**batch).logits, rtol=1e-4, atol=1e-5)
        parted = share_layers(shared, "none")
        assert parted.config.layer_sharing == "none" and parted.num_parameters() == deep.num_parameters()
        assert_close(parted(**batch).logits, shared(**batch).logits)


def test_a_folder_is_converted_and_parted_again(deep, batch, tmp_path):
    deep.save_pretrained(tmp_path / "deep")
    record = convert(tmp_path / "deep", tmp_path / "shared", sharing="cycle:2")
    assert record["layer_sharing"] == "cycle:2" and record["share_start"] == "mean"
    assert record["parameters_after"] < record["parameters_before"]
    assert json.loads((tmp_path / "shared" / "conversion.json").read_text())["layer_sharing"] == "cycle:2"
    convert(tmp_path / "shared", tmp_path / "parted", sharing="none")
    shared, parted = (LeanformerForMaskedLM.from_pretrained(tmp_path / name).eval() for name in ("shared", "parted"))
    assert shared.num_parameters() == record["parameters_after"] and len(parted.encoder.layers) == 5
    assert_close(parted(**batch).logits, shared(**batch).logits)
    with pytest.raises(ValueError, match="add --share-layers none, which gives each a copy"):
        convert(tmp_path / "shared", tmp_path / "other", attention="symmetric")
    record = convert(tmp_path / "shared", tmp_path / "both", attention="symmetric", sharing="none")
    both = convert(tmp_path / "parted", tmp_path / "then", attention="symmetric")
    assert record["layers"] == both["layers"] and record["parameters_before"] == shared.num_parameters()
    first, second = (load_file(tmp_path / name / "model.safetensors") for name in ("both", "then"))
    assert first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)
    with pytest.raises(ValueError, match="BERT cannot express layer_sharing = 'cycle:2'"):
        convert(tmp_path / "shared", tmp_path / "bert", "bert")


def test_refusals_name_the_remedy(deep):
    shared = share_layers(deep, "kv:2")
    with pytest.raises(ValueError, match="layers without keys and values cannot be given any"):
        share_layers(shared, "none")
    with pytest.raises(ValueError, match="layers share already .* convert it with layer_sharing = 'none' first"):
        share_layers(shared, "all")
    with pytest.raises(ValueError, match="share_start = 'men'; did you mean 'mean'"):
        share_layers(deep, "all", "men")


@pytest.mark.parametrize("plan", ["atoms:2", "atoms_qkvo:3"])
def test_atoms_are_the_nearest_matrices(deep, plan):
    """What is left of a map is what the smallest singular values of all layers' maps hold."""
    count, shared = int(plan[-1]), share_layers(deep, plan)
    for part in ("projection.query", "projection.value", "output"):
        old, new = (
            torch.stack([layer.attention.get_submodule(part).weight.detach().double() for layer in each.encoder.layers])
            for each in (deep, shared)
        )
        kept = 5 if part == "output" and "qkvo" not in plan else count
        left = torch.linalg.svdvals(old.flatten(1))[kept:].square().sum()
        assert_close((old - new).square().sum(), left, rtol=1e-4, atol=1e-8)
    lengths = torch.stack([layer.attention.projection.query.coefficients for layer in shared.encoder.layers])
    assert float(lengths.detach().square().sum(1).mean()) == pytest.approx(1, rel=1e-5)


def test_as_many_atoms_as_layers_lose_nothing_and_are_parted_again(deep, batch):
    shared = share_layers(deep, "atoms:5")
    assert_close(shared(**batch).logits, deep(**batch).logits, rtol=1e-4, atol=1e-4)
    parted = share_layers(share_layers(deep, "atoms:2"), "none")
    assert parted.num_parameters() == deep.num_parameters()
    assert_close(parted(**batch).logits, share_layers(deep, "atoms:2")(**batch).logits, rtol=1e-4, atol=1e-5)
