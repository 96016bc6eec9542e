"""The last block at some places alone: the same states and gradients as of the whole block, and less work."""

from itertools import product

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from leanformer import (
    LeanformerForMaskedLM,
    LeanformerForMultipleChoice,
    LeanformerForSequenceClassification,
    LeanformerModel,
)
from leanformer.attention import MIXERS, MultiHeadAttention, mechanism, names, take

PLACES = torch.tensor([[1, 4, 4], [0, 6, 2], [10, 3, 0]])


@pytest.fixture(autouse=True)
def float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def compared(model, inputs, places=PLACES):
    """Assert that states at these places and gradients of every parameter are those of all states."""
    model.zero_grad()
    whole = take(model(**inputs).last_hidden_state, places)
    weights = torch.randn_like(whole)
    (whole * weights).sum().backward()
    expected = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}
    model.zero_grad()
    some = model(**inputs, places=places).last_hidden_state
    (some * weights).sum().backward()
    assert_close(some, whole)
    found = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        assert_close(found[name], gradient, msg=lambda message, name=name: f"{name}: {message}")


def mask_of_pairs(batch, heads):
    """Whom each token may attend to, of each head another choice; every token attends to itself."""
    allowed = torch.rand(3, heads, 11, 11) < 0.6
    return (allowed & batch["attention_mask"].bool()[:, None, None, :]) | torch.eye(11, dtype=torch.bool)


@pytest.mark.parametrize("norm", ["post", "pre"])
@pytest.mark.parametrize("attention", names())
def test_every_mechanism(tiny, scattered, batch, attention, norm):
    compared(scattered(LeanformerModel(tiny(attention, norm=norm))), batch)


@pytest.mark.parametrize("positions", ["rotary", "learned"])
@pytest.mark.parametrize("attention", ["dot_product", "symmetric", "random", "random+dot_product"])
def test_masks_of_pairs_and_given_positions(tiny, scattered, batch, attention, positions):
    model = scattered(LeanformerModel(tiny(attention, positions=positions)))
    for heads in (1, 3):
        compared(model, batch | {"attention_mask": mask_of_pairs(batch, heads)})
    for ids in (torch.arange(11).flip(0)[None], torch.stack([torch.randperm(29)[:11] for _ in range(3)])):
        compared(model, batch | {"position_ids": ids})


@pytest.mark.parametrize(
    "settings",
    [
        *({"mixer": name} for name in MIXERS if name != "attention"),
        {"mixer": "convolution", "mixer_options": {"mask_conv": False, "kernel": 5}, "attention": "symmetric"},
        {"mixer": "convolution", "mixer_options": {"kernel": 21, "head_ratio": 3}, "attention": "random+dot_product"},
        {"mixer": "clusters", "mixer_options": {"scales": 2}},
    ],
)
def test_every_other_mixer(tiny, scattered, batch, settings):
    compared(scattered(LeanformerModel(tiny(**settings))), batch)


@pytest.mark.parametrize(
    "attention", ["dot_product", "pairwise", "shared", "random", "dense", "dot_product+relative_bias"]
)
def test_in_float32(tiny, scattered, batch, attention):
    torch.set_default_dtype(torch.float32)
    compared(scattered(LeanformerModel(tiny(attention))), batch)


@pytest.mark.parametrize("sharing", ["all", "blocks:2", "cycle:2", "attention", "feed_forward", "kv:2", "kv:3"])
@pytest.mark.parametrize("norm", ["post", "pre"])
def test_layers_that_share(tiny, scattered, batch, sharing, norm):
    compared(scattered(LeanformerModel(tiny(layer_sharing=sharing, num_hidden_layers=4, norm=norm))), batch)


@pytest.mark.parametrize(
    "settings",
    [
        {"attention_options": {"kv_heads": 1}},
        {"attention": "multi_query"},
        {"attention_options": {"projection": "identity_query"}},
        {"sliding_window": 2},
        {"feed_forward": "gated", "qk_norm": True, "biases": False, "positions": "rotary", "norm": "pre"},
        {"attention": "dense", "attention_options": {"tie_query": True, "projection": "separate"}},
        {"first_norm": False, "num_hidden_layers": 1, "norm": "pre"},
    ],
)
def test_every_setting_of_a_layer(tiny, scattered, batch, settings):
    compared(scattered(LeanformerModel(tiny(**settings))), batch)


def test_the_loss_of_a_masked_language_model(tiny, scattered, batch):
    """What pre-training computes, against the scores of all tokens, chosen afterwards."""
    for attention in ("dot_product", "random", "dense", "phased"):
        model = scattered(LeanformerForMaskedLM(tiny(attention)))
        labels = torch.tensor([[7, 9, -100], [3, 4, 5], [8, -100, 1]])
        losses, gradients = [], []
        for fused in (True, False):
            model.zero_grad()
            if fused:
                loss = model(**batch, masked_positions=PLACES, labels=labels, return_logits=False).loss
            else:
                logits = take(model(**batch).logits, PLACES)
                loss = nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten())
            loss.backward()
            losses.append(loss)
            gradients.append([parameter.grad.clone() for parameter in model.parameters()])
        assert_close(*losses, rtol=1e-12, atol=1e-12)
        for some, whole in zip(*gradients, strict=True):
            assert_close(some, whole, rtol=1e-10, atol=1e-12)


class Neighbours(MultiHeadAttention):
    """A mixer that reads what stands before a token, and says nothing of places."""

    def merge(self, context_BHLK, x, heads, mask):
        return super().merge(context_BHLK, x, heads, mask) + x.roll(1, 1)


def test_a_mixer_that_computes_in_its_own_way_is_computed_whole(tiny, scattered, batch):
    model = scattered(LeanformerModel(tiny()))
    assert MultiHeadAttention.serves_some(mechanism("random")) and not Neighbours.serves_some(mechanism("random"))
    model.layers[-1].attention.__class__ = Neighbours
    compared(model, batch)


def test_one_layer_and_the_plain_formula(tiny, scattered, batch):
    model = scattered(LeanformerModel(tiny(num_hidden_layers=1)))
    compared(model, batch)
    model.set_attn_implementation("eager")
    compared(model, batch)


@pytest.mark.parametrize(
    ("attention", "mixer"),
    [*((name, "attention") for name in names()), *product(("dot_product", "shared"), ("convolution", "clusters"))],
)
def test_the_last_feed_forward_layer_and_output_map_compute_these_places_alone(
    tiny, batch, attention, mixer, monkeypatch
):
    model, sizes = LeanformerModel(tiny(attention, mixer=mixer)), dict[int, int]()
    assert model.layers[-1].attention.serves_some(mechanism(attention))
    last, product = model.layers[-1], nn.functional.linear

    def spy(x, weight, bias=None):
        sizes[id(weight)] = x.shape[:-1].numel()
        return product(x, weight, bias)

    monkeypatch.setattr(nn.functional, "linear", spy)
    model(**batch, places=PLACES)
    assert sizes[id(last.feed_forward.up.weight)] == sizes[id(last.attention.output.weight)] == 9


def test_whoever_watches_the_last_block_sees_all_of_it(tiny, scattered, batch):
    model, seen = scattered(LeanformerModel(tiny())), list[torch.Size]()
    expected = model(**batch, places=PLACES).last_hidden_state
    hook = model.layers[-1].feed_forward.register_forward_hook(lambda module, inputs, out: seen.append(out.shape))
    assert_close(model(**batch, places=PLACES).last_hidden_state, expected)
    hook.remove()
    assert seen == [(3, 11, 30)]
    asked = model(**batch, places=PLACES, output_attentions=True)
    assert_close(asked.last_hidden_state, expected)
    assert [weights.shape for weights in asked.attentions] == [(3, 3, 11, 11)] * 2
    assert_close(model(**batch, places=PLACES).last_hidden_state, expected)


def test_hidden_states_are_those_of_all_tokens(tiny, scattered, batch):
    model = scattered(LeanformerForMaskedLM(tiny()))
    expected = model.encoder(**batch, output_hidden_states=True).hidden_states
    asked = model(**batch, masked_positions=PLACES, output_hidden_states=True)
    for found, states in zip(asked.hidden_states, expected, strict=True):
        assert_close(found, states)
    assert_close(asked.logits, model(**batch, masked_positions=PLACES).logits)


@pytest.mark.parametrize("norm", ["post", "pre"])
def test_classifiers_read_the_first_token_of_all(tiny, scattered, batch, norm):
    model = scattered(LeanformerForSequenceClassification(tiny(norm=norm, num_labels=4)))
    assert_close(model(**batch).logits, model.classifier(model.encoder(**batch).pooler_output))
    embedded = {key: value for key, value in batch.items() if key != "input_ids"}
    embedded["inputs_embeds"] = model.get_input_embeddings()(batch["input_ids"])
    assert_close(model(**embedded).logits, model(**batch).logits)
    assert model(**batch, output_hidden_states=True).hidden_states[-1].shape == (3, 11, 30)
    choice = scattered(LeanformerForMultipleChoice(tiny(norm=norm)))
    inputs = {key: torch.stack([value, value.flip(0)], dim=1) for key, value in batch.items()}
    flat = {key: value.flatten(0, 1) for key, value in inputs.items()}
    assert_close(choice(**inputs).logits, choice.classifier(choice.encoder(**flat).pooler_output).view(3, 2))
