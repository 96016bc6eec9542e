"""The last block at some places alone: the same states and gradients as of the whole block, and less work."""

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
from leanformer.attention import MIXERS, mechanism, names, take

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


@pytest.mark.parametrize("mixer", [name for name in MIXERS if name != "attention"])
def test_every_other_mixer(tiny, scattered, batch, mixer):
    compared(scattered(LeanformerModel(tiny(mixer=mixer))), batch)


def test_one_layer_and_the_plain_formula(tiny, scattered, batch):
    model = scattered(LeanformerModel(tiny(num_hidden_layers=1)))
    compared(model, batch)
    model.set_attn_implementation("eager")
    compared(model, batch)


@pytest.mark.parametrize(("attention", "outputs"), [("dot_product", 9), ("random", 33)])
def test_the_last_feed_forward_layer_computes_these_places_alone(tiny, batch, attention, outputs, monkeypatch):
    """And so does the output map of a mechanism whose queries need no neighbours."""
    assert mechanism(attention).cross == (outputs == 9)
    model, sizes = LeanformerModel(tiny(attention)), dict[int, int]()
    last, product = model.layers[-1], nn.functional.linear

    def spy(x, weight, bias=None):
        sizes[id(weight)] = x.shape[:-1].numel()
        return product(x, weight, bias)

    monkeypatch.setattr(nn.functional, "linear", spy)
    model(**batch, places=PLACES)
    assert sizes[id(last.feed_forward.up.weight)] == 9 and sizes[id(last.attention.output.weight)] == outputs


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
