"""Layers that attend within a window. The whole architecture against ModernBERT is in tests/conversion."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from leanformer import LeanformerForCausalLM, LeanformerForMaskedLM, LeanformerModel
from leanformer.attention import MIXERS, Positions, Rotary, take
from leanformer.models.cost import ledger

WINDOW = {"sliding_window": 3, "global_attn_every_n_layers": 2, "num_hidden_layers": 4}
ROTARY = {"positions": "rotary", "rotary_base": 400.0, "local_rotary_base": 7.0}
PRE = {"norm": "pre", "first_norm": False}
PLACES = torch.arange(11)[None]
NEAR = (torch.arange(11)[:, None] - torch.arange(11)).abs() <= 3


@pytest.fixture(autouse=True)
def float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("kernel", ["sdpa", "eager"])
@pytest.mark.parametrize(
    "settings", [{}, ROTARY, ROTARY | PRE, {"attention": "random"}, {"attention": "phased"} | ROTARY]
)
def test_every_second_layer_sees_the_window_alone(settings, kernel, tiny, scattered, batch):
    """One block after the other, each with the mask and the rotations that belong to it."""
    model = scattered(LeanformerModel(tiny(**WINDOW | settings)))
    model.set_attn_implementation(kernel)
    mask = batch["attention_mask"].bool()[:, None, None, :]
    x = model.embeddings(model.embeddings.word_embeddings(batch["input_ids"]), batch["token_type_ids"], PLACES)
    for number, layer in enumerate(model.layers):
        local = number in (1, 3)
        rotary = Rotary(10, 7.0 if local else 400.0) if "positions" in settings else None
        x = layer(x, mask & NEAR if local else mask, Positions.of(PLACES, rotary=rotary))
    expected = model.last_norm(x) if model.last_norm is not None else x
    assert_close(model(**batch).last_hidden_state, expected)


def test_weights_end_where_the_window_does(tiny, scattered, batch):
    model = scattered(LeanformerModel(tiny(**WINDOW)))
    for number, weights in enumerate(model(**batch, output_attentions=True).attentions):
        for example, length in ((0, slice(None)), (1, slice(7)), (2, slice(2, None))):
            seen = weights[example, :, length, length] > 0
            assert_close(seen, NEAR[length, length].expand_as(seen) if number % 2 else torch.ones_like(seen))


def test_a_window_over_the_whole_sequence_is_none(tiny, scattered, batch):
    config = tiny(**WINDOW | {"sliding_window": 10})
    model, whole = LeanformerModel(config), LeanformerModel(tiny(num_hidden_layers=4))
    whole.load_state_dict(scattered(model).state_dict())
    assert_close(model(**batch).last_hidden_state, whole.eval()(**batch).last_hidden_state, rtol=0, atol=0)


@pytest.mark.parametrize("layers", [3, 4])
def test_the_last_block_at_some_places_has_its_own_window(layers, tiny, scattered, batch):
    """Local if there are four layers, global if there are three."""
    model = scattered(LeanformerModel(tiny(**WINDOW | ROTARY | {"num_hidden_layers": layers})))
    places = torch.tensor([[1, 4, 4], [0, 6, 2], [10, 3, 0]])
    expected = take(model(**batch).last_hidden_state, places)
    assert_close(model(**batch, places=places).last_hidden_state, expected)


def test_documents_and_given_positions_meet_the_window(tiny, scattered, batch):
    """The window is of tokens, whatever their positions; a mask of pairs holds within it."""
    model = scattered(LeanformerModel(tiny(**WINDOW | ROTARY)))
    pairs = torch.rand(3, 11, 11) < 0.7
    positions = torch.randint(0, 29, (3, 11))
    given = {"input_ids": batch["input_ids"], "position_ids": positions}
    x = model.embeddings(model.embeddings.word_embeddings(batch["input_ids"]), None, positions)
    for number, layer in enumerate(model.layers):
        rotary = Rotary(10, 7.0 if number % 2 else 400.0)
        x = layer(x, (pairs & NEAR if number % 2 else pairs)[:, None], Positions.of(positions, rotary=rotary))
    assert_close(model(**given, attention_mask=pairs).last_hidden_state, x)


def test_without_a_first_norm_the_embeddings_are_read_as_they_are(tiny, scattered, batch):
    """A first norm of gain s and shift 0, where s undoes the division, is no norm."""
    config = tiny(norm="pre", biases=False)
    model, without = LeanformerModel(config), LeanformerModel(tiny(norm="pre", biases=False, first_norm=False))
    scattered(model)
    model.embeddings.norm.weight.data.fill_(0.7)  # its outputs have mean 0 and variance 0.49
    model.layers[0].attention_norm.weight.data.fill_(0.7)
    without.load_state_dict({key: value for key, value in model.state_dict().items() if "0.attention_norm" not in key})
    assert_close(without.eval()(**batch).last_hidden_state, model(**batch).last_hidden_state, rtol=1e-9, atol=1e-9)


def test_the_ledger_counts_one_norm_less(tiny):
    config = tiny(**WINDOW | ROTARY | PRE)
    model = LeanformerForMaskedLM(config)
    counted = ledger(config, 11)["parameters"]
    assert counted["total"] == model.num_parameters()
    encoder = [module for module in model.encoder.modules() if isinstance(module, nn.LayerNorm)]
    assert counted["norms"] == sum(parameter.numel() for norm in encoder for parameter in norm.parameters())
    assert ledger(config, 11)["scores_per_token"] == ledger(tiny(num_hidden_layers=4), 11)["scores_per_token"]


REFUSED = {
    "zero": ({"sliding_window": 0}, "sliding_window = 0: must be positive"),
    "period": ({"global_attn_every_n_layers": 0}, "global_attn_every_n_layers = 0: must be positive"),
    "base alone": ({"local_rotary_base": 7.0}, 'local_rotary_base = 7.0: needs model.positions = "rotary" and model.s'),
    "learned": (WINDOW | {"local_rotary_base": 7.0}, 'local_rotary_base = 7.0: needs model.positions = "rotary"'),
    "post": ({"first_norm": False}, 'first_norm = False: needs model.norm = "pre"'),
} | {
    f"mixer {name}": (WINDOW | {"mixer": name}, "sliding_window = 3: needs")
    for name, made in MIXERS.items()
    if not made.any_mask
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_go_together_is_named(case, tiny):
    settings, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        tiny(**settings)


@pytest.mark.parametrize("settings", [{"sliding_window": 3}, PRE])
def test_a_decoder_refuses_what_is_an_encoders(settings, tiny):
    with pytest.raises(ValueError, match=f"{list(settings)[-1]} = .* is an encoder's: leave it out"):
        LeanformerForCausalLM(tiny(**settings))


def test_saved_and_loaded_it_is_the_same(tiny, scattered, batch, tmp_path):
    model = scattered(LeanformerForMaskedLM(tiny(**WINDOW | ROTARY | PRE)))
    model.save_pretrained(tmp_path)
    again = LeanformerForMaskedLM.from_pretrained(tmp_path, dtype=torch.float64).eval()
    assert_close(again(**batch).logits, model(**batch).logits)
