"""Mixers without heads: Fourier and linear mixing and gMLP keep their contract, and equal what was published."""

import math

import pytest
import torch
from torch.testing import assert_close
from transformers import FNetConfig, FNetModel

from leanformer.attention import MIXERS, TokenMixer, build_mixer, load_plugin, mixer_options, register_mixer
from leanformer.attention.mixer_testing import broken_mixer_promises, check_token_mixer, layer
from leanformer.attention.mixers.fourier import by_products
from leanformer.attention.reference import D, L, inputs
from leanformer.attention.shape import Shape
from leanformer.models import LeanformerConfig, LeanformerModel
from leanformer.models.initialisation import initialise

ROWS = [
    ("fourier", {}),
    ("fourier", {"scaled": True}),
    ("linear", {}),
    ("gmlp", {}),
    ("gmlp", {"toeplitz": False, "inner_size": 14}),
    ("gmlp", {"tiny_attention": 7}),
    ("gmlp", {"tiny_attention": 6, "tiny_mechanism": "pairwise"}),
    ("gmlp", {"tiny_attention": 6, "tiny_mechanism": "random", "toeplitz": False}),
]


@pytest.mark.parametrize(("name", "mixing"), ROWS, ids=lambda part: str(part))
def test_the_contract_is_kept(name, mixing):
    check_token_mixer(name, **mixing)


def test_every_mixer_without_heads_has_a_row():
    assert {name for name, _ in ROWS} == {name for name, made in MIXERS.items() if not made.attends}


def test_the_transform_of_a_constant_is_one_number():
    """L D at place 0 and channel 0, zero elsewhere."""
    module = build_mixer("fourier", {}, "dot_product", {}, Shape(12, 3, 9))
    expected = torch.zeros(1, 7, 12, dtype=torch.float64)
    expected[0, 0, 0] = 7 * 12
    assert_close(module(torch.ones(1, 7, 12, dtype=torch.float64)), expected, rtol=0, atol=1e-12)


def test_long_texts_are_transformed_as_exactly_by_products():
    """Angles are reduced in whole numbers, so float32 stays near float64 at 512 places of 768 channels."""
    x = torch.randn(1, 512, 768)
    found, number = by_products(x, torch.ones(1, 512, dtype=torch.bool))
    exact = torch.fft.fft2(x.double()).real
    assert number.item() == 512 and (found - exact).norm() < 1e-5 * exact.norm()
    assert exact.std().item() == pytest.approx(math.sqrt(512 * 768 / 2), rel=0.02), "the docstring's factor"


def test_padding_may_stand_anywhere_in_fourier_mixing():
    module, x = layer("fourier", {}), inputs(2, L)
    for real in ([1, 2, 3, 4], [0, 2, 4], [3]):
        tokens = torch.zeros(1, L, dtype=torch.bool)
        tokens[0, real] = True
        found = module(x[:1], mask=tokens[:, None, None, :])
        assert_close(found[0, real], module.formula(x[0, real]), rtol=1e-9, atol=1e-9)
        assert not found[~tokens].any()


def test_fourier_mixing_is_hugging_faces_fnet():
    """With copied weights, the embeddings' extra map left out of both, at every token of an unpadded text."""
    torch.manual_seed(3)
    sizes = {"vocab_size": 41, "hidden_size": 24, "num_hidden_layers": 2, "intermediate_size": 37}
    theirs = FNetModel(FNetConfig(**sizes, max_position_embeddings=13, hidden_dropout_prob=0.0)).eval()
    names = {"num_attention_heads": 3, "max_position_embeddings": 13, "hidden_act": "gelu_new", "type_vocab_size": 4}
    config = LeanformerConfig(**sizes, **names, mixer="fourier", layer_norm_eps=1e-12)
    ours = LeanformerModel(config, add_pooling_layer=False).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.normal_(std=0.3)
        for layer_, other in zip(ours.layers, theirs.encoder.layer, strict=True):
            for mine, part in (
                (layer_.attention_norm, other.fourier.output.LayerNorm),
                (layer_.feed_forward.up, other.intermediate.dense),
                (layer_.feed_forward.down, other.output.dense),
                (layer_.feed_forward_norm, other.output.LayerNorm),
            ):
                mine.load_state_dict(part.state_dict())
        x = torch.randn(2, 11, 24)
        expected = theirs.encoder(x).last_hidden_state
        found = x
        for block in ours.layers:
            found = block(found, None, None)
    assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_half_precision_keeps_the_transform_in_float32():
    module, x = build_mixer("fourier", {}, "dot_product", {}, Shape(D, 3, L)), inputs(2, L).float()
    mask = torch.ones(2, 1, 1, L, dtype=torch.bool)
    with torch.autocast("cpu", torch.bfloat16):
        for given in (None, mask):
            assert_close(module(x, mask=given), module(x.double(), mask=given).float(), rtol=1e-4, atol=1e-3)
            assert module(x.bfloat16(), mask=given).dtype == torch.bfloat16


def test_a_gated_mlp_with_an_open_gate_is_a_feed_forward_layer():
    module, x = layer("gmlp", {}), inputs(2, L)
    with torch.no_grad():
        module.places.zero_()
        module.place_bias.fill_(1)
    kept = torch.nn.functional.gelu(module.up(x))[..., : 2 * D // 2]
    assert_close(module(x), module.output(kept))


def test_a_toeplitz_matrix_is_the_same_for_every_shift():
    module = layer("gmlp", {})
    matrix = module.place_matrix(L)
    assert_close(matrix[1:, 1:], matrix[:-1, :-1])
    assert module.places.unique().numel() == module.places.numel() and matrix.unique().numel() == 2 * L - 1
    assert matrix[0, 1] == module.places[module.shape.max_length], "w[j - i] of a place behind"


def test_tiny_attention_is_added_to_the_gate():
    """By one softmax, written out."""
    module, x = layer("gmlp", {"tiny_attention": 7}), inputs(2, L)
    part = module.attention
    query, key, value = (getattr(part.projection, name)(x) for name in ("query", "key", "value"))
    weights = (query @ key.mT / math.sqrt(7)).softmax(-1)
    kept, gating = torch.nn.functional.gelu(module.up(x)).chunk(2, -1)
    gate = module.place_matrix(L) @ module.gate_norm(gating) + module.place_bias[:L, None]
    assert_close(module(x), module.output(kept * (gate + part.output(weights @ value))))


def test_starts_are_those_of_the_papers():
    model = LeanformerModel(
        LeanformerConfig(mixer="gmlp", num_hidden_layers=1, hidden_size=48), add_pooling_layer=False
    )
    initialise(model, seed=3)
    gate = model.layers[0].attention
    assert (gate.place_bias == 1).all() and gate.places.std().item() == pytest.approx(1e-3, rel=0.1)
    model = LeanformerModel(
        LeanformerConfig(mixer="linear", num_hidden_layers=1, hidden_size=48), add_pooling_layer=False
    )
    initialise(model, seed=3)
    assert model.layers[0].attention.places.std().item() == pytest.approx(0.02, rel=0.05)
    assert model.layers[0].attention.output.weight.std().item() == pytest.approx(0.02, rel=0.1)


def test_options_have_defaults():
    assert mixer_options("fourier") == {"scaled": False}
    assert mixer_options("linear") == {"init_std": 0.02}
    told = {"inner_size": None, "toeplitz": True, "tiny_attention": 0, "tiny_mechanism": "dot_product"}
    assert mixer_options("gmlp") == told


class Leaky(TokenMixer):
    """A mean over all places, padding included."""

    paper = "nobody 2026"

    def mix(self, x, mask):
        return x.mean(1, keepdim=True).expand_as(x)

    def formula(self, x):
        return torch.stack([x.sum(0) / len(x)] * len(x))

    @classmethod
    def count_params(cls, mechanism, whole, options, **mixing):
        return 1

    @classmethod
    def count_flops(cls, mechanism, whole, options, length, memory=None, **mixing):
        return 0


def test_a_broken_promise_is_named(own_registry):
    register_mixer("leaky", Leaky)
    broken = dict(broken_mixer_promises("leaky"))
    assert broken["values and gradients equal the formula"] is None
    assert "output" in broken["a padded text gets what it gets alone"]
    assert "num_params says 1" in broken["counts are exact"]
    assert "a mask of pairs passes" in broken["what it cannot do is refused"]
    with pytest.raises(AssertionError, match="leaky : a padded text gets what it gets alone"):
        check_token_mixer("leaky")


def test_a_file_of_a_user_has_a_mixer_without_heads(own_registry, tmp_path):
    file = tmp_path / "first.py"
    file.write_text(PLUGIN)
    assert load_plugin(file) == ["averages"]
    check_token_mixer("averages")
    model = LeanformerModel(
        LeanformerConfig(mixer="averages", num_hidden_layers=1, hidden_size=24, num_attention_heads=2)
    )
    assert model.layers[0].attention.num_params() == 0


PLUGIN = '''
"""The mean of a text, at each of its places."""
import torch
from leanformer.attention import TokenMixer, register_mixer
from leanformer.attention.mixers.masks import tokens_of


class Averages(TokenMixer):
    paper = "nobody 2026"
    group = "none"

    def mix(self, x, mask):
        tokens = tokens_of(mask)
        tokens = torch.ones_like(x[..., 0], dtype=torch.bool) if tokens is None else tokens
        x = x.masked_fill(~tokens[..., None], 0.0)
        return (x.sum(1) / tokens.sum(-1, keepdim=True).clamp(min=1))[:, None].expand_as(x)

    def formula(self, x):
        return torch.stack([sum(x) / len(x)] * len(x))

    @classmethod
    def count_params(cls, mechanism, whole, options, **mixing):
        return 0

    @classmethod
    def count_flops(cls, mechanism, whole, options, length, memory=None, **mixing):
        return 0


register_mixer("averages", Averages)
'''
