import pytest
from transformers import AutoConfig, BertConfig

from leanformer import LeanformerConfig

WRONG = {
    "attention": ("pairwize", "unknown attention mechanism 'pairwize'; did you mean 'pairwise'?"),
    "attention_options": ({"rank": 3}, "dot_product has no option 'rank'"),
    "hidden_size": (32, "hidden_size = 32: is not divisible by num_attention_heads = 3, but 33 is"),
    "num_attention_heads": (0, "num_attention_heads = 0: must be positive"),
    "num_hidden_layers": (0, "num_hidden_layers = 0: must be positive"),
    "vocab_size": (-1, "vocab_size = -1: must be positive"),
    "max_position_embeddings": (0, "max_position_embeddings = 0: must be positive"),
    "hidden_dropout_prob": (1.0, "hidden_dropout_prob = 1.0: is a probability"),
    "classifier_dropout": (-0.1, "classifier_dropout = -0.1: is a probability"),
    "initializer_range": (-1, "initializer_range = -1: must not be negative"),
    "hidden_act": ("gello", "hidden_act = 'gello': did you mean 'gelu'?"),
    "positions": ("rotarry", "positions = 'rotarry': did you mean 'rotary'?"),
    "norm": ("prenorm", "norm = 'prenorm': "),
    "feed_forward": ("gate", "feed_forward = 'gate': did you mean 'gated'?"),
    "embedding_size": (0, "embedding_size = 0: must be positive"),
    "head_size": (0, "head_size = 0: must be positive"),
    "num_decoder_layers": (0, "num_decoder_layers = 0: must be positive"),
    "label_smoothing": (1.0, "label_smoothing = 1.0: is a probability"),
    "cross_attention": (
        "random",
        "ties positions of one sequence and cannot attend to another; these can: dot_product",
    ),
    "rotary_base": (0, "rotary_base = 0: must be positive"),
    "pooler_act": ("tahn", "pooler_act = 'tahn': did you mean 'tanh'?"),
    "pad_token_id": (101, "pad_token_id = 101: must be less than vocab_size = 101"),
}


OWN = {"attention", "attention_options", "positions", "rotary_base", "head_size", "label_smoothing"}
OWN |= {"decoder_attention", "decoder_attention_options", "cross_attention", "cross_attention_options"}
OWN |= {"num_decoder_layers", "decoder_start_token_id", "norm"}
OWN |= {"biases", "feed_forward", "qk_norm", "zero_outputs", "residual_in_fp32", "embedding_size", "shared_heads"}
OWN |= {"block", "mixer", "mixer_options", "feed_forward_groups", "pooler_act"}
OWN |= {"layer_sharing", "sliding_window", "global_attn_every_n_layers", "local_rotary_base", "first_norm"}


@pytest.mark.parametrize("key", WRONG)
def test_a_wrong_value_is_one_line_that_names_the_key_and_the_remedy(tiny, key):
    value, message = WRONG[key]
    with pytest.raises(ValueError) as error:
        tiny(**{key: value})
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_the_values_of_options_are_checked_before_a_model_is_built(tiny):
    with pytest.raises(ValueError, match="did you mean 'softmax'"):
        tiny(attention="random+dot_product", attention_options={"weights": "softmx"})
    with pytest.raises(ValueError, match="cover max_length"):
        tiny(attention="factorized_dense", attention_options={"a": 1, "b": 2})


def test_rotary_positions_need_an_even_head_size(tiny):
    with pytest.raises(ValueError, match='positions = "rotary" needs an even head size, not 11: .*hidden_size'):
        tiny(positions="rotary", hidden_size=33)
    assert tiny(positions="rotary").rotary().head_size == 10
    assert tiny().rotary() is None


@pytest.mark.parametrize("settings", [{"attention": "phased"}, {"decoder_attention": "random+phased"}])
def test_phases_need_rotary_positions(tiny, settings):
    with pytest.raises(ValueError, match="attention = '.*phased': needs model.positions = \"rotary\""):
        tiny(**{"positions": "learned"} | settings)
    tiny(**settings | {"positions": "rotary"})


def test_settings_by_hand_may_not_hold_unknown_keys_or_types():
    with pytest.raises(ValueError, match="unknown setting model.hiden_size; did you mean 'hidden_size'?"):
        LeanformerConfig.from_settings({"hiden_size": 64})
    with pytest.raises(ValueError, match="^model: Field 'hidden_size' expected int, got str") as error:
        LeanformerConfig.from_settings({"hidden_size": "64"})
    assert "\n" not in str(error.value)
    assert LeanformerConfig.from_settings({"attention": "shared", "num_labels": 3}).num_classes() == 3


def test_names_and_defaults_are_berts():
    ours, berts = LeanformerConfig().to_dict(), BertConfig().to_dict()
    assert {key: ours[key] for key in berts.keys() & ours.keys() - {"model_type"}}.items() <= berts.items()
    assert ours.keys() - berts.keys() == OWN


def test_saved_and_loaded_it_is_the_same(tiny, tmp_path):
    config = tiny(attention="pairwise", attention_options={"coefficients_init": "identity"}, num_labels=3)
    config.save_pretrained(tmp_path)
    loaded = AutoConfig.from_pretrained(tmp_path)
    assert type(loaded) is LeanformerConfig
    assert loaded.to_dict() == config.to_dict() | {"_name_or_path": str(tmp_path)}


def test_options_are_not_shared_between_configs():
    LeanformerConfig().attention_options["rank"] = 3
    assert LeanformerConfig().attention_options == {}


def test_a_cache_is_as_deep_as_the_decoder(tiny):
    config = tiny(is_encoder_decoder=True, num_decoder_layers=5, decoder_attention="random")
    assert config.get_text_config(decoder=True).num_hidden_layers == config.decoder_depth() == 5
    assert config.get_text_config() is config.get_text_config(encoder=True) is config
    assert config.get_text_config(decoder=True).attention == "dot_product"
    assert config.decoder_self_attention() == ("random", {})
    assert tiny(attention="pairwise").decoder_self_attention() == ("pairwise", {})


def test_transformers_name_of_positions_is_an_alias(tiny):
    assert tiny(position_embedding_type="absolute").positions == "learned"
    config = tiny(position_embedding_type="rotary", hidden_size=36)
    assert config.positions == "rotary" and "position_embedding_type" not in config.to_dict()
    with pytest.raises(ValueError, match="positions = 'relative_key': "):
        tiny(position_embedding_type="relative_key")
    with pytest.raises(ValueError, match="position_embedding_type is another name of positions = 'rotary': leave out"):
        tiny(positions="rotary", position_embedding_type="absolute", hidden_size=36)


@pytest.mark.parametrize(
    ("mixer", "options", "message"),
    [
        ("convolution", {"head_ratio": "two"}, "head_ratio = 'two'"),
        ("convolution", {"kernel": [3]}, "kernel = [3]"),
        ("convolution", {"mask_conv": "no"}, "mixer 'convolution': mask_conv = 'no': give true or false"),
        ("clusters", {"scales": "1"}, "scales = '1'"),
        ("clusters", {"clusters": 2.5}, "clusters = 2.5"),
    ],
)
def test_an_option_of_a_mixer_with_a_value_of_another_type_is_one_line(tiny, mixer, options, message):
    with pytest.raises(ValueError) as error:
        tiny(mixer=mixer, mixer_options=options)
    assert message in str(error.value) and "\n" not in str(error.value)
