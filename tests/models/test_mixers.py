"""Models with another token mixer, and feed-forward layers in groups: what a config promises."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from leanformer import LeanformerConfig, LeanformerForCausalLM, LeanformerForMaskedLM, LeanformerModel
from leanformer.attention import MIXERS
from leanformer.models import LeanformerForConditionalGeneration
from leanformer.models.grouped_linear import GroupedLinear
from leanformer.models.initialisation import initialise

OTHERS = [name for name in MIXERS if name != "attention"]
HEADLESS = [name for name in OTHERS if not MIXERS[name].attends]


def test_groups_are_a_block_diagonal_matrix():
    grouped = GroupedLinear(6, 10, 2, bias=True, std=1.0)
    plain = nn.Linear(6, 10)
    with torch.no_grad():
        grouped.bias.normal_()
        plain.weight.copy_(torch.block_diag(*(block.T for block in grouped.weight)))
        plain.bias.copy_(grouped.bias)
    for size in ((7, 6), (2, 3, 6)):
        x = torch.randn(size)
        assert_close(grouped(x), plain(x))
    assert "groups=2" in repr(grouped)
    with pytest.raises(ValueError, match="4 groups cannot share 6 inputs"):
        GroupedLinear(6, 8, 4, bias=True, std=1.0)


@pytest.mark.parametrize("mixer", OTHERS)
def test_padding_has_no_say_in_a_model(tiny, scattered, batch, mixer):
    model = scattered(LeanformerForMaskedLM(tiny(mixer=mixer, feed_forward_groups=3, intermediate_size=36)))
    real = batch["attention_mask"].bool()
    expected = model(**batch).logits
    other = dict(batch, input_ids=batch["input_ids"].where(real, 7))
    assert_close(model(**other).logits[real], expected[real])
    short = {key: value[1:2, :7] for key, value in batch.items() if key != "attention_mask"}
    assert_close(model(**short).logits, expected[1:2, :7], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mixer", OTHERS)
def test_a_model_is_saved_and_gives_its_attention(tiny, scattered, batch, mixer, tmp_path):
    model = scattered(LeanformerModel(tiny("dot_product" if mixer in HEADLESS else "pairwise", mixer=mixer)))
    model.save_pretrained(tmp_path)
    again = LeanformerModel.from_pretrained(tmp_path).eval()
    assert again.config.mixer == mixer
    if mixer in HEADLESS:
        assert_close(again(**batch).last_hidden_state, model(**batch).last_hidden_state)
        with pytest.raises(ValueError, match="has no attention weights: leave out output_attentions"):
            again(**batch, output_attentions=True)
        return
    asked = again(**batch, output_attentions=True)
    assert_close(asked.last_hidden_state, model(**batch).last_hidden_state)
    heads = again.layers[0].attention.shape.num_heads
    assert [tuple(weights.shape) for weights in asked.attentions] == [(3, heads, 11, 11)] * 2


@pytest.mark.parametrize("mixer", OTHERS)
def test_initial_values_are_those_of_the_seed_and_outputs_may_start_at_zero(tiny, mixer):
    settings = {"mixer": mixer, "feed_forward_groups": 3, "intermediate_size": 36}
    if mixer in ("shaped", "fourier"):
        with pytest.raises(ValueError, match=f"mixer '{mixer}' has no output map that could start at zero"):
            tiny(**settings, zero_outputs=True)
    else:
        settings["zero_outputs"] = True
    one, other = (LeanformerForMaskedLM(tiny(**settings)) for _ in range(2))
    for model in (one, other):
        initialise(model, seed=3)
    for (name, parameter), (_, same) in zip(one.named_parameters(), other.named_parameters(), strict=True):
        assert torch.equal(parameter, same)
        if "zero_outputs" in settings and name.endswith(("attention.output.weight", "feed_forward.down.weight")):
            assert not parameter.any()
    assert one.encoder.layers[0].feed_forward.up.weight.std().item() == pytest.approx(0.02, rel=0.2)


@pytest.mark.parametrize("mixer", [name for name in OTHERS if not MIXERS[name].any_mask])
def test_a_decoder_has_no_mixer_that_reads_ahead(tiny, mixer):
    for kind in (LeanformerForCausalLM, LeanformerForConditionalGeneration):
        with pytest.raises(ValueError, match=f"mixer = '{mixer}': .* leave it out of a decoder's config"):
            kind(tiny(mixer=mixer))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mixer": "convolutions"}, "unknown mixer 'convolutions'"),
        ({"mixer_options": {"kernel": 3}}, "mixer 'attention' has no option 'kernel'; it has none"),
        ({"mixer": "convolution", "mixer_options": {"kernel": 4}}, "kernel = 4: an odd number"),
        ({"mixer": "convolution", "mixer_options": {"head_ratio": 4}}, "head_ratio = 4 leaves no heads"),
        ({"mixer": "convolution", "attention": "dense"}, "kernels from queries, and dense has none"),
        ({"mixer": "clusters", "attention": "random"}, "means without a place, and random needs places"),
        ({"mixer": "clusters", "positions": "rotary"}, "mixer = 'clusters': has no keys with a place of their own"),
        (
            {"mixer": "clusters", "mixer_options": {"clusters": 30}},
            "clusters = 30 are more than the sequence's 29 tokens",
        ),
        ({"mixer": "fourier", "attention": "pairwise"}, "attention = 'pairwise': mixer 'fourier' has no heads"),
        (
            {"mixer": "linear", "attention_options": {"scaled": False}},
            "attention_options = .*: mixer 'linear' has no heads",
        ),
        ({"mixer": "gmlp", "positions": "rotary"}, "mixer = 'gmlp': has no keys with a place of their own"),
        ({"mixer": "gmlp", "mixer_options": {"inner_size": 7}}, "inner_size = 7: an even number"),
        ({"mixer": "gmlp", "mixer_options": {"tiny_attention": -1}}, "tiny_attention = -1: the size of one head"),
        (
            {"mixer": "gmlp", "mixer_options": {"tiny_attention": 8, "tiny_mechanism": "phased"}},
            "tiny_mechanism = 'phased' needs rotary positions",
        ),
        (
            {"mixer": "gmlp", "mixer_options": {"tiny_attention": 8, "tiny_mechanism": "dot"}},
            "unknown attention mechanism 'dot'",
        ),
        ({"mixer": "linear", "mixer_options": {"init_std": -1.0}}, "init_std = -1.0: a standard deviation"),
        ({"mixer": "fourier", "mixer_options": {"scaled": 1}}, "scaled = 1: give true or false"),
        ({"mixer": "shaped", "head_size": 8}, "3 heads of 8 are not hidden_size = 30: leave out head_size"),
        ({"mixer": "shaped", "attention": "shared"}, "projection = 'shared_all' of shared makes the value by a map of"),
        ({"mixer": "shaped", "attention": "multi_query"}, "or for fewer heads: take another projection"),
        (
            {"block": "simplified", "norm": "pre"},
            "mixer = 'attention': block 'simplified' needs model.mixer = \"shaped\"",
        ),
        ({"block": "simplified", "mixer": "shaped"}, "norm = 'post': block 'simplified' needs model.norm = \"pre\""),
        (
            {
                "block": "simplified",
                "mixer": "shaped",
                "norm": "pre",
                "mixer_options": {"output_map": True},
                "zero_outputs": True,
            },
            "zero_outputs: block 'simplified' has no residual step around its mixer",
        ),
        ({"feed_forward_groups": 0}, "feed_forward_groups = 0: must be positive"),
        ({"feed_forward_groups": 4}, "feed_forward_groups = 4: does not divide hidden_size = 30"),
        ({"feed_forward_groups": 3}, "feed_forward_groups = 3: does not divide intermediate_size = 37"),
        (
            {"mixer": "convolution", "shared_heads": {"tie": "qk", "blocks": [[0, 1, 2], [3, 4, 5]]}},
            "heads of attention alone can be shared",
        ),
    ],
)
def test_wrong_settings_are_one_line(tiny, settings, message):
    sizes = {key: value for key, value in tiny().to_diff_dict().items() if key not in ("model_type", "architectures")}
    sizes = {key: value for key, value in sizes.items() if key in LeanformerConfig.__dataclass_fields__}
    with pytest.raises(ValueError, match=message) as error:
        LeanformerConfig.from_settings(sizes | settings)
    assert "\n" not in str(error.value)
