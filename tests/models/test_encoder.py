"""Masks, positions and kernels of the encoder, for every mechanism."""

import pytest
import torch
from torch.testing import assert_close

from leanformer import LeanformerModel
from leanformer.attention import mechanism, names
from leanformer.models.encoder import boolean_mask

POSITIONS = ("learned", "rotary")


@pytest.fixture(
    params=[(name, positions) for name in names() for positions in POSITIONS[mechanism(name).rotary :]], ids="-".join
)
def model(request, tiny, scattered):
    attention, positions = request.param
    return scattered(LeanformerModel(tiny(attention=attention, positions=positions)))


def test_padding_has_no_say(model, batch):
    attended = batch["attention_mask"].bool()
    other = batch | {
        "input_ids": batch["input_ids"].where(attended, batch["input_ids"] % 100 + 1),
        "token_type_ids": batch["token_type_ids"].where(attended, (batch["token_type_ids"] + 1) % 3),
    }
    assert not torch.equal(other["input_ids"], batch["input_ids"])
    assert_close(model(**other)[0][attended], model(**batch)[0][attended], rtol=0, atol=0)


def test_padding_equals_its_absence(model, batch):
    padded = model(**batch).last_hidden_state
    right = model(batch["input_ids"][1:2, :7], token_type_ids=batch["token_type_ids"][1:2, :7])
    assert_close(padded[1:2, :7], right.last_hidden_state, rtol=0, atol=1e-5)
    positions = (torch.arange(11) - 2).clamp(min=0)[None]
    left = model(batch["input_ids"][2:, 2:], token_type_ids=batch["token_type_ids"][2:, 2:])
    actual = model(**{key: value[2:] for key, value in batch.items()}, position_ids=positions).last_hidden_state
    assert_close(actual[:, 2:], left.last_hidden_state, rtol=0, atol=1e-5)


def test_attended_tokens_do_have_a_say(model, batch):
    other = batch["input_ids"].clone()
    other[:, 4] = other[:, 4] % 100 + 1
    changed = (model(**batch | {"input_ids": other})[0] - model(**batch)[0]).abs().amax(-1)
    assert (changed[batch["attention_mask"].bool()] > 1e-4).all()


def test_every_form_of_a_mask_means_the_same(model, batch):
    expected = model(**batch).last_hidden_state
    flags = batch.pop("attention_mask")
    by_whom = flags[:, None, :].expand(-1, 11, -1)
    additive = torch.zeros(3, 1, 1, 11).masked_fill(~flags[:, None, None].bool(), torch.finfo(torch.float32).min)
    for mask in (flags.bool(), flags.float(), by_whom, by_whom[:, None], by_whom[:, None].bool(), additive):
        assert_close(model(**batch, attention_mask=mask).last_hidden_state, expected, rtol=0, atol=1e-6)
    everyone = model(**batch, attention_mask=torch.ones(3, 11)).last_hidden_state
    assert_close(model(**batch).last_hidden_state, everyone, rtol=0, atol=1e-6)


def test_a_causal_mask_hides_the_future(model, batch):
    causal = torch.ones(11, 11).tril()[None].expand(3, -1, -1)
    ids = batch["input_ids"]
    other = torch.cat((ids[:, :6], ids[:, 6:] % 100 + 1), dim=1)
    before, after = (model(i, attention_mask=causal).last_hidden_state for i in (ids, other))
    assert_close(after[:, :6], before[:, :6], rtol=0, atol=0)


def test_a_sequence_of_padding_gives_finite_states_and_gradients(model, batch):
    batch["attention_mask"][0] = 0
    states = model.train()(**batch).last_hidden_state
    states.sum().backward()
    assert states.isfinite().all()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_the_plain_kernel_equals_the_fused_one(model, batch):
    fused = model(**batch, output_hidden_states=True)
    model.set_attn_implementation("eager")
    plain = model(**batch, output_hidden_states=True)
    assert len(plain.hidden_states) == 3
    assert_close(plain.hidden_states, fused.hidden_states, rtol=0, atol=1e-5)


def test_weights_come_on_request_whatever_the_kernel(model, batch):
    assert model.config._attn_implementation == "sdpa"
    silent, outputs = model(**batch), model(**batch, output_attentions=True)
    assert silent.attentions is None
    assert_close(outputs.last_hidden_state, silent.last_hidden_state, rtol=0, atol=1e-5)
    assert [tuple(weights.shape) for weights in outputs.attentions] == [(3, 3, 11, 11)] * 2
    for weights in outputs.attentions:
        assert_close(weights.sum(-1), torch.ones(3, 3, 11))
        assert not weights.masked_select(~batch["attention_mask"].bool()[:, None, None]).any()


def test_position_ids_are_respected(model, batch):
    ids, order = batch["input_ids"], torch.randperm(11)
    expected = model(ids).last_hidden_state[:, order]
    assert_close(model(ids[:, order], position_ids=order[None]).last_hidden_state, expected, rtol=0, atol=1e-5)
    default = model(ids, position_ids=torch.arange(11)[None].expand(3, -1)).last_hidden_state
    assert_close(default, model(ids).last_hidden_state, rtol=0, atol=1e-6)


@pytest.mark.parametrize("attention", [name for name in names() if mechanism(name).cross])
def test_rotary_positions_know_distances_only(tiny, scattered, batch, attention):
    shifted = torch.arange(11)[None] + 13
    for positions in POSITIONS:
        model = scattered(LeanformerModel(tiny(attention=attention, positions=positions)))
        states = [model(batch["input_ids"], position_ids=ids).last_hidden_state for ids in (None, shifted)]
        moved = (states[1] - states[0]).abs().max().item()
        assert moved < 1e-4 if positions == "rotary" else moved > 1e-2
        backwards = model(batch["input_ids"], position_ids=10 - torch.arange(11)[None]).last_hidden_state
        symmetric = positions == "rotary" and attention in ("symmetric", "shared")
        assert symmetric or (backwards - states[0]).abs().max() > 1e-3


def test_rotary_models_have_no_table(tiny):
    keys = LeanformerModel(tiny(positions="rotary")).state_dict()
    assert not [key for key in keys if "position" in key]


def test_wrong_input_is_named(tiny, batch):
    model = LeanformerModel(tiny())
    with pytest.raises(ValueError, match="exactly one of input_ids and inputs_embeds"):
        model()
    with pytest.raises(ValueError, match="exactly one of input_ids and inputs_embeds"):
        model(batch["input_ids"], inputs_embeds=torch.zeros(3, 11, 30))
    with pytest.raises(ValueError, match="30 tokens are more than max_position_embeddings = 29"):
        model(torch.ones(1, 30, dtype=torch.long))


def test_wrong_masks_are_named():
    with pytest.raises(ValueError, match="make it boolean"):
        boolean_mask(torch.ones(3, 1, 11, 11))
    with pytest.raises(ValueError, match="attention_mask has 1 axes"):
        boolean_mask(torch.ones(11))
