"""Other maps and the same outputs, in float64: coefficients absorbed into queries, and values made of keys."""

import json

import pytest
import torch
from torch.testing import assert_close

from leanformer import (
    LeanformerConfig,
    LeanformerForCausalLM,
    LeanformerForConditionalGeneration,
    LeanformerForMaskedLM,
    convert,
)
from leanformer.conversion.rewriting import rewrite
from leanformer.models import saved

ROTARY = {"positions": "rotary", "hidden_size": 48}
ABSORBED = {
    "pairwise": {"attention": "pairwise"},
    "pairwise, rotary": ROTARY | {"attention": "pairwise"},
    "pairwise of separate maps": {"attention": "pairwise", "attention_options": {"projection": "separate"}},
    "grouped pairwise": {"attention": "pairwise", "attention_options": {"projection": "separate", "kv_heads": 1}},
    "one map for keys and values": {"attention_options": {"projection": "shared_key_value", "kv_heads": 1}},
    "symmetric": {"attention": "symmetric"},
    "shared": {"attention": "shared"},
    "shared, rotary": ROTARY | {"attention": "shared", "attention_options": {"scale_init": "normal"}},
    "phased": ROTARY | {"attention": "phased"},
    "unscaled": {"attention_options": {"scaled": False}},
    "without biases": {"attention": "pairwise", "biases": False, "norm": "pre"},
    "shared blocks": {"attention": "pairwise", "layer_sharing": "all"},
    "one attention": {"attention": "pairwise", "layer_sharing": "attention"},
    "keys and values handed on": {
        "attention": "pairwise",
        "attention_options": {"projection": "separate", "kv_heads": 1},
        "layer_sharing": "kv:2",
    },
}
CLASSES = {
    "encoder": LeanformerForMaskedLM,
    "decoder": LeanformerForCausalLM,
    "both": LeanformerForConditionalGeneration,
}


def outputs(model, **inputs):
    if model.config.is_encoder_decoder:
        inputs["decoder_input_ids"] = inputs["input_ids"].flip(0)
    with torch.no_grad():
        return model(**inputs).logits


@pytest.fixture
def ids(tiny):
    mask = torch.ones(3, 9, dtype=torch.long)
    mask[1, 6:] = 0
    return {"input_ids": torch.randint(4, 53, (3, 9)), "attention_mask": mask}


def sized(kind, settings):
    """Cross-attention has the mechanism too, where it can."""
    crosses = kind == "both" and settings.get("attention", "dot_product") != "phased"
    names = {"cross_attention": settings.get("attention", "dot_product")} if crosses else {}
    options = {"cross_attention_options": settings.get("attention_options", {})} if names else {}
    return {"vocab_size": 53} | settings | names | options


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("case", ABSORBED)
def test_what_stands_between_query_and_key_is_absorbed(case, kind, tiny, sharp, ids):
    model = sharp(CLASSES[kind](tiny(**sized(kind, ABSORBED[case]))).double())
    target, _ = rewrite(model, "absorb")
    assert target.config.attention == "dot_product" and set(target.config.attention_options) <= {"kv_heads"}
    assert_close(outputs(target, **ids), outputs(model, **ids), rtol=1e-10, atol=1e-10)
    keys = [set(each.state_dict()) for each in (model, target)]
    assert not any("coefficients" in key or "_scale" in key or "phases" in key for key in keys[1])


def test_grouped_heads_stay_grouped(tiny, sharp):
    settings = {"attention": "pairwise", "attention_options": {"projection": "separate", "kv_heads": 1}}
    target, _ = rewrite(sharp(LeanformerForCausalLM(tiny(**settings))), "absorb")
    assert target.config.attention_options == {"kv_heads": 1}


SLIM = {
    "plain": {},
    "rotary": ROTARY,
    "normed, without biases": {"qk_norm": True, "biases": False, "norm": "pre"},
    "with coefficients": {"attention": "pairwise", "attention_options": {"projection": "separate"}},
    "beside a table": {"attention": "random+dot_product"},
    "one block": {"layer_sharing": "all"},
}


@pytest.mark.parametrize("kind", ["decoder", "both"])
@pytest.mark.parametrize("case", SLIM)
def test_values_are_made_of_keys_and_the_cache_is_half(case, kind, tiny, sharp, ids):
    settings = {"vocab_size": 53} | SLIM[case]
    model = sharp(CLASSES[kind](tiny(**settings)).double())
    target, slim = rewrite(model, "slim")
    assert_close(outputs(target, **ids), outputs(model, **ids), rtol=1e-10, atol=1e-10)
    assert all(1 <= each.condition < 1e6 for each in slim)
    sizes, logits = [], []
    for each in (model, target):
        inputs = ids if kind == "both" else {"input_ids": ids["input_ids"]}
        cache, steps = None, []
        for piece in ids["input_ids"].split([4, 1, 4], dim=1):
            step = inputs | ({"decoder_input_ids": piece} if kind == "both" else {"input_ids": piece})
            with torch.no_grad():
                answer = each(**step, past_key_values=cache, use_cache=True)
            cache = answer.past_key_values
            steps.append(answer.logits)
        logits.append(torch.cat(steps, 1))
        caches = [cache.self_attention_cache, cache.cross_attention_cache] if kind == "both" else [cache]
        layers = [layer for part in caches for layer in part.layers]
        sizes.append(sum(part.nbytes for layer in layers for part in (layer.keys, layer.values) if part.numel()))
    assert_close(logits[1], logits[0], rtol=1e-10, atol=1e-10)
    assert sizes[0] == 2 * sizes[1] > 0


def test_slim_keeps_the_number_of_parameters(tiny):
    model = LeanformerForCausalLM(tiny()).double()
    assert rewrite(model, "slim")[0].num_parameters() == model.num_parameters()


def test_a_map_that_can_hardly_be_inverted_is_refused_with_its_condition(tiny):
    model = LeanformerForCausalLM(tiny()).double()
    key = model.decoder.layers[1].attention.projection.key.weight
    left, values, right = torch.linalg.svd(key.data)
    values = torch.logspace(0, -5, len(values), dtype=torch.float64)
    key.data = left @ values.diag() @ right
    target, slim = rewrite(model, "slim")
    assert slim[1].layer == "decoder.layers.1.attention" and slim[1].condition == pytest.approx(1e5, rel=1e-6)
    with pytest.raises(ValueError, match=r"layers.1.attention has condition number 100,000, .* in float32 .*1e-02"):
        rewrite(model, "slim", torch.float32)
    key.data[0] = key.data[1]
    with pytest.raises(ValueError, match="condition number"):
        rewrite(model, "slim")


@pytest.mark.parametrize(
    ("kind", "class_name", "settings", "message"),
    [
        ("slim", "encoder", {}, "is an encoder's, which has no cache"),
        ("slim", "decoder", {"attention": "symmetric"}, "symmetric has no key and value apart"),
        ("slim", "decoder", {"attention_options": {"kv_heads": 1}}, "only a square one has an inverse"),
        ("slim", "decoder", {"layer_sharing": "kv:2"}, "dot_product has no query map apart"),
        ("absorb", "encoder", {}, "has nothing between query and key"),
        ("absorb", "encoder", {"attention": "random"}, "the scores of random are no bilinear form"),
        ("absorb", "encoder", {"attention": "pairwise", "qk_norm": True}, "qk_norm = True divides"),
        ("absorb", "encoder", {"attention": "random+pairwise"}, "the scores of random.pairwise are no bilinear form"),
        ("absorb", "encoder", {"attention_options": {"projection": "identity_query"}}, "makes no query by a map"),
        ("absorb", "encoder", {"attention": "pairwise", "layer_sharing": "atoms:1"}, "makes maps of atoms"),
        ("fold", "encoder", {}, "--rewrite 'fold'"),
    ],
)
def test_what_cannot_be_rewritten_is_named(kind, class_name, settings, message, tiny):
    with pytest.raises(ValueError, match=message):
        rewrite(CLASSES[class_name](tiny(**settings)), kind)


def test_a_converted_folder_says_what_was_done(tiny, sharp, tmp_path):
    model = sharp(LeanformerForCausalLM(tiny(attention="pairwise", vocab_size=53)))
    model.save_pretrained(tmp_path / "model")
    one = convert(tmp_path / "model", out=tmp_path / "absorbed", rewrite="absorb")
    two = convert(tmp_path / "absorbed", out=tmp_path / "slim", rewrite="slim")
    assert one.record["rewrite"] == "absorb" and one.record["difference"] < 1e-5
    assert two.record["rewrite"] == "slim" and two.record["difference"] < 1e-3 and two.record["condition"] > 1
    config = json.loads((tmp_path / "slim" / "config.json").read_text())
    assert (config["attention"], config["attention_options"]) == ("dot_product", {"projection": "value_from_key"})
    again = LeanformerForCausalLM.from_pretrained(tmp_path / "slim").eval()
    ids = torch.randint(4, 53, (2, 9))
    with torch.no_grad():
        assert_close(again(ids).logits, model.eval()(ids).logits, rtol=0, atol=1e-3)
    assert saved.config_of(tmp_path / "slim") is not None
    with pytest.raises(ValueError, match="--rewrite changes the maps and not the outputs"):
        convert(tmp_path / "model", out=tmp_path / "no", rewrite="absorb", attention="dot_product")


def test_absorbed_bert_base_has_the_count_of_the_baseline():
    with torch.device("meta"):
        model = LeanformerForMaskedLM(LeanformerConfig(attention_options={"projection": "value_from_key"}))
    assert model.num_parameters() == 109_514_298
