"""Runs are paired: models of different attention start from the same values wherever they have a weight in common."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from leanformer import (
    LeanformerConfig,
    LeanformerForCausalLM,
    LeanformerForConditionalGeneration,
    LeanformerForMaskedLM,
    LeanformerForQuestionAnswering,
    LeanformerForSequenceClassification,
    LeanformerModel,
)
from leanformer.attention import Compatibility, Shape, names
from leanformer.models.initialisation import initial_values, initialise


def initialised(config, seed=1, model_class=LeanformerForMaskedLM, dtype=torch.float32):
    model = model_class(config).to(dtype)
    initialise(model, seed)
    return dict(model.named_parameters())


def of_one_shape(ours, baseline):
    return {key for key in ours.keys() & baseline.keys() if ours[key].shape == baseline[key].shape}


@pytest.mark.parametrize("attention", names())
def test_weights_of_the_same_name_are_equal_in_every_mechanism(tiny, attention):
    """And of the same shape, which a key that several heads read has not."""
    ours, baseline = initialised(tiny(attention=attention)), initialised(tiny())
    common = of_one_shape(ours, baseline)
    assert len(common) >= len(baseline) - 12
    for key in common:
        assert torch.equal(ours[key], baseline[key]), key


@pytest.mark.parametrize(
    ("options", "tied", "source"),
    [
        ({"attention": "symmetric"}, "token", "query"),
        ({"attention": "pairwise"}, "token", "query"),
        ({"attention": "shared"}, "shared", "query"),
        ({"attention_options": {"projection": "shared_key_value"}}, "key_value", "key"),
        ({"attention_options": {"projection": "shared_query_value"}}, "query_value", "query"),
    ],
)
def test_a_tied_projection_starts_from_the_one_it_stands_for(tiny, options, tied, source):
    ours, baseline = initialised(tiny(**options)), initialised(tiny())
    for layer in range(2):
        path = f"encoder.layers.{layer}.attention.projection"
        assert torch.equal(ours[f"{path}.{tied}.weight"], baseline[f"{path}.{source}.weight"])


@pytest.mark.parametrize("kv_heads", [1, 3])
def test_grouped_heads_start_as_the_first_heads_of_the_baseline(tiny, kv_heads):
    sizes = {"num_attention_heads": 6, "hidden_size": 48}
    ours = initialised(tiny(attention_options={"kv_heads": kv_heads}, **sizes))
    baseline = initialised(tiny(**sizes))
    for part in ("key", "value"):
        name = f"encoder.layers.1.attention.projection.{part}.weight"
        assert ours[name].shape == (8 * kv_heads, 48)
        assert torch.equal(ours[name], baseline[name][: 8 * kv_heads])


def test_the_key_may_start_as_the_query(tiny):
    ours, baseline = initialised(tiny(attention_options={"key_init": "query"})), initialised(tiny())
    for key in baseline:
        source = key.replace("projection.key.", "projection.query.")
        assert torch.equal(ours[key], baseline[source]), key


def test_logits_may_start_as_if_they_were_not_divided(tiny):
    """By sqrt(K), as `scaled=false` leaves them for good, and N(0, 1) coefficients make them on average."""
    ours, baseline = initialised(tiny(attention_options={"logits_init": "unscaled"})), initialised(tiny())
    for key, value in baseline.items():
        part = key.rpartition("projection.")[2]
        assert_close(ours[key], value * (10**0.25 if part in ("query.weight", "key.weight") else 1.0), msg=key)
    ids = torch.randint(1, 101, (2, 11))
    models = [LeanformerModel(tiny(attention_options=own)) for own in ({"logits_init": "unscaled"}, {"scaled": False})]
    for model in models:
        initialise(model, 1)
    assert_close(*(model.eval()(ids).last_hidden_state for model in models))
    with pytest.raises(ValueError, match="has no effect on normed queries and keys"):
        tiny(qk_norm=True, attention_options={"logits_init": "unscaled"})
    with pytest.raises(ValueError, match="key_init = 'querry'; did you mean 'query'"):
        tiny(attention_options={"key_init": "querry"})


@pytest.mark.parametrize("mixture", [name for name in names() if "+" in name] + ["factorized_dense+random"])
def test_a_mechanism_starts_alone_as_in_a_mixture(tiny, mixture):
    mixed, parts = initialised(tiny(attention=mixture)), mixture.split("+")
    compared = 0
    for part in parts:
        alone = initialised(tiny(attention=part))
        for key, value in mixed.items():
            if f".compatibility.{part}." in key:
                assert torch.equal(value, alone[key.replace(f".{part}.", ".", 1)]), key
                compared += 1
    assert compared >= 2


@pytest.mark.parametrize("model_class", [LeanformerForCausalLM, LeanformerForConditionalGeneration])
@pytest.mark.parametrize("attention", names())
def test_decoders_start_from_the_same_weights(tiny, model_class, attention):
    ours, baseline = (initialised(tiny(attention=a), model_class=model_class) for a in (attention, "dot_product"))
    common = of_one_shape(ours, baseline)
    assert len(common) >= len(baseline) - 24
    for key in common:
        assert torch.equal(ours[key], baseline[key]), key
    layers = [key for key in common if ".layers.0." in key and ours[key].std() > 0]
    assert layers and not any(torch.equal(ours[key], ours[key.replace(".0.", ".1.")]) for key in layers)


def test_an_encoder_starts_the_same_with_and_without_a_decoder(tiny):
    bare, whole = initialised(tiny()), initialised(tiny(), model_class=LeanformerForConditionalGeneration)
    for key in bare.keys() & whole.keys():
        assert torch.equal(bare[key], whole[key]), key
    assert sum(key.startswith("encoder.") for key in whole) == sum(key.startswith("encoder.") for key in bare)
    deeper = initialised(tiny(num_decoder_layers=3), model_class=LeanformerForConditionalGeneration)
    for key, value in whole.items():
        assert torch.equal(value, deeper[key]), key


@pytest.mark.parametrize("attention", names())
def test_values_depend_on_the_seed_and_on_nothing_else(tiny, attention):
    config = tiny(attention=attention)
    first = initialised(config)
    torch.randn(3)
    again, other = initialised(config), initialised(config, seed=2)
    for key, value in first.items():
        assert torch.equal(value, again[key]), key
        drawn = value.numel() > 1 and value.std() > 0
        assert not drawn or not torch.equal(value, other[key]), key


def test_the_global_generator_is_left_alone(tiny):
    model = LeanformerForMaskedLM(tiny())
    before = torch.get_rng_state()
    initialise(model, 1)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_order_modules_are_built_in_does_not_matter(tiny):
    model = LeanformerForMaskedLM(tiny())
    model._modules = dict(reversed(model._modules.items()))
    model.encoder._modules = dict(reversed(model.encoder._modules.items()))
    initialise(model, 1)
    expected = initialised(tiny())
    assert list(model.state_dict()) != list(expected)
    for key, value in model.named_parameters():
        assert torch.equal(
            value, expected[key] if key in expected else expected["encoder.embeddings.word_embeddings.weight"]
        )


def test_depth_and_head_do_not_move_what_is_shared(tiny):
    shallow, deep = initialised(tiny()), initialised(tiny(num_hidden_layers=3))
    for key, value in shallow.items():
        assert torch.equal(value, deep[key]), key
    bare = initialised(tiny(), model_class=LeanformerModel)
    classifier = initialised(tiny(), model_class=LeanformerForSequenceClassification)
    for key, value in bare.items():
        assert torch.equal(value, classifier[f"encoder.{key}"]), key


def test_half_precision_starts_from_the_rounded_values(tiny):
    full, half = initialised(tiny()), initialised(tiny(), dtype=torch.bfloat16)
    for key, value in full.items():
        assert torch.equal(value.bfloat16(), half[key]), key


def test_only_the_named_modules_are_touched(tiny):
    model = LeanformerForSequenceClassification(tiny())
    before = {key: value.clone() for key, value in model.named_parameters()}
    initialise(model, 5, only="classifier")
    changed = {key for key, value in model.named_parameters() if not torch.equal(value, before[key])}
    assert changed == {"classifier.weight"}


def test_the_rule_is_berts(tiny):
    drawn = initialised(tiny(hidden_size=150, vocab_size=1009))
    for key, value in drawn.items():
        if "norm" in key:
            assert_close(value, torch.full_like(value, key.endswith("weight")))
        elif key.endswith("bias"):
            assert not value.any()
        else:
            assert value.std().item() == pytest.approx(0.02, rel=0.1), key
            assert value.mean().item() == pytest.approx(0, abs=0.002), key
    assert not drawn["encoder.embeddings.word_embeddings.weight"][0].any()


def test_other_layers_of_a_plug_in_start_as_torch_has_them():
    values = initial_values(nn.Conv1d(3, 5, 7, device="meta"), 0.02)
    assert values["weight"].shape == (5, 3, 7)
    assert values["weight"].abs().max().item() == pytest.approx(21**-0.5, rel=0.1)


def test_bare_parameters_without_a_rule_are_refused():
    module = nn.Module()
    module.table = nn.Parameter(torch.zeros(3))
    with pytest.raises(ValueError, match="Module holds parameters: it needs initial_values()"):
        initial_values(module, 0.02)


def test_the_map_of_answers_starts_as_under_its_older_name():
    """What seed 3 drew when it was called span."""
    sizes = {"vocab_size": 11, "hidden_size": 6, "num_attention_heads": 2, "intermediate_size": 8}
    model = LeanformerForQuestionAnswering(LeanformerConfig(**sizes, num_hidden_layers=1, max_position_embeddings=8))
    initialise(model, 3)
    expected = torch.tensor([-0.011112866923213005, 0.012963286601006985, -0.017575513571500778])
    assert_close(model.qa_outputs.weight.flatten()[:3].detach(), expected, rtol=0, atol=1e-8)


def test_a_rule_that_leaves_a_parameter_out_is_refused():
    class Forgetful(Compatibility):
        def __init__(self, shape):
            super().__init__(shape)
            self.temperature = nn.Parameter(torch.ones(shape.num_heads))

    with pytest.raises(ValueError, match=r"Forgetful.initial_values\(\) has no temperature: name every parameter"):
        initial_values(Forgetful(Shape(6, 2, 4)), 0.02)
