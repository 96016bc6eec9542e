"""A mixer of a user's file is a mixer like those that ship: options, counts, groups of parameters, other processes."""

from multiprocessing import get_context

import pytest
import torch
from torch.testing import assert_close

from leanformer import LeanformerConfig, LeanformerForMaskedLM
from leanformer.attention import MIXERS, MultiHeadAttention, load_plugin, mixer, names, register_mixer
from leanformer.models.cost import ledger
from leanformer.settings import TrainingSettings
from leanformer.training.optimizers.parameter_groups import make_optimizer

pytestmark = pytest.mark.usefixtures("own_registry")
PLUGIN = '''
"""Attention whose context is scaled, a number a channel."""
import torch
from torch import nn
from leanformer.attention import MultiHeadAttention, ParameterGroup, register_mixer


class Scaled(MultiHeadAttention):
    paper = "nobody 2026"
    parameter_groups = {"scales": ParameterGroup(("scale",), multiplier=7.0)}

    def __init__(self, *arguments, start: float = 0.5, **options):
        super().__init__(*arguments, **options)
        self.mixing = {"start": start}
        self.scale = nn.Parameter(self.initial_values()["scale"])

    def initial_values(self):
        return {"scale": torch.full((self.shape.inner_size,), float(self.mixing["start"]))}

    def merge(self, context, x, heads, mask):
        return self.output(context.transpose(1, 2).flatten(-2) * self.scale)

    @classmethod
    def count_params(cls, mechanism, whole, options, **mixing):
        return mechanism.num_params(whole, **options) + whole.inner_size


register_mixer("scaled", Scaled)
'''
SIZES = {"vocab_size": 23, "hidden_size": 14, "num_hidden_layers": 1, "num_attention_heads": 7, "intermediate_size": 29}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "scaled.py"
    path.write_text(PLUGIN)
    return path


def test_it_is_built_counted_and_trained_by_its_name(file):
    assert load_plugin(file) == ["scaled"]
    config = LeanformerConfig(mixer="scaled", mixer_options={"start": 2.0}, max_position_embeddings=13, **SIZES)
    model = LeanformerForMaskedLM(config)
    assert ledger(config, 13)["parameters"]["total"] == model.num_parameters()
    groups = make_optimizer(model, TrainingSettings()).param_groups
    assert {group["factor"]: len(group["params"]) for group in groups if group["factor"] != 1.0} == {7.0: 1}
    assert config.parameter_groups() == ["scales"]
    with pytest.raises(ValueError, match="mixer 'scaled' has no option 'begin'; known: start"):
        LeanformerConfig(mixer="scaled", mixer_options={"begin": 1}, max_position_embeddings=13, **SIZES)
    with pytest.raises(ValueError, match=r"mixer 'scaled' with {'start': \[2\]}: a value of the wrong type"):
        LeanformerConfig(mixer="scaled", mixer_options={"start": [2]}, max_position_embeddings=13, **SIZES)


def test_a_worker_that_lacks_it_loads_the_file(file):
    load_plugin(file)
    layer, x = mixer("scaled")("dot_product", 12, 2, 7).requires_grad_(False).eval(), torch.randn(2, 5, 12)
    with get_context("spawn").Pool(1) as pool:
        assert_close(pool.apply(layer, (x,)), layer(x))


def test_a_file_that_fails_leaves_no_mixer_behind(file):
    known = list(MIXERS), names()
    file.write_text(PLUGIN + "\nraise RuntimeError('too late')")
    with pytest.raises(ValueError, match=r"scaled\.py failed to load: RuntimeError: too late"):
        load_plugin(file)
    assert (list(MIXERS), names()) == known


@pytest.mark.parametrize(
    ("name", "made", "message"),
    [
        ("clusters", MultiHeadAttention, "a mixer named 'clusters' is registered already"),
        ("Mine", MultiHeadAttention, "mixer name 'Mine': use lower-case letters"),
        ("mine", torch.nn.Linear, "mixer 'mine': Linear must derive from leanformer.attention.TokenMixer"),
        ("mine", "attention", "mixer 'mine': 'attention' is no class: give one that derives from"),
    ],
)
def test_mistakes_are_refused(name, made, message):
    with pytest.raises(ValueError, match=message):
        register_mixer(name, made)
