"""Block types of a user's file: the page's example, counts, saving, other processes, and what is refused."""

import re
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from leanformer import LeanformerForCausalLM, LeanformerForMaskedLM, LeanformerModel
from leanformer.attention import MultiHeadAttention, load_plugin
from leanformer.attention.plugins import plugins_of
from leanformer.models.block_types import BLOCKS
from leanformer.models.blocks import Block, register_block
from leanformer.models.testing import check_block

pytestmark = pytest.mark.usefixtures("own_registry")
PAGE = (Path(__file__).parents[2] / "docs" / "add-a-mechanism.md").read_text()


@pytest.fixture
def parallel(tmp_path):
    file = tmp_path / "parallel.py"
    file.write_text(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)[1])
    assert load_plugin(file) == ["parallel"]
    return file


def test_the_blocks_keep_the_contract(parallel):
    for name in ("sequential", "mixing_only", "parallel"):
        check_block(name)
    for name in ("simplified", "simplified_parallel"):
        check_block(name, mixer="shaped")
    check_block("mixing_only", mixer="gmlp")
    assert set(BLOCKS) == {"sequential", "mixing_only", "simplified", "simplified_parallel", "parallel"}


@pytest.mark.parametrize("norm", ["post", "pre"])
def test_the_example_is_its_formula(tiny, scattered, parallel, norm):
    model = scattered(LeanformerModel(tiny(block="parallel", norm=norm)))
    seen = []
    layer = model.layers[0]
    layer.register_forward_hook(lambda _, inputs, output: seen.extend([inputs[0], output]))
    found = model(torch.arange(5, 12)[None], output_attentions=True, output_hidden_states=True)
    x = seen[0] if norm == "post" else layer.attention_norm(seen[0])
    y = seen[0] + layer.attention(x) + layer.feed_forward(x)
    assert_close(seen[1], layer.attention_norm(y) if norm == "post" else y)
    assert len(found.attentions) == 2 and len(found.hidden_states) == 3


def test_it_is_saved_and_reaches_other_processes(tiny, scattered, parallel, tmp_path):
    model = scattered(LeanformerForMaskedLM(tiny(block="parallel")))
    model.save_pretrained(tmp_path / "model")
    again = LeanformerForMaskedLM.from_pretrained(tmp_path / "model").eval()
    ids = torch.arange(5, 12)[None]
    assert_close(again(ids).logits, model(ids).logits)
    assert plugins_of(again.config.block) == [parallel] and "Parallel" in again.encoder._no_split_modules
    feed = model.encoder.layers[0].requires_grad_(False)
    with get_context("spawn").Pool(1) as pool:
        assert pool.apply(type_name, (feed,)) == "Parallel"


def type_name(block):
    return type(block).__name__


class Miscounted(Block):
    norms = 3


class Macaron(Block):
    """A half-step feed-forward layer before attention, too, and a gate of its own."""

    norms = 3
    feed_forwards = 2

    def __init__(self, config):
        super().__init__(config)
        other = Block(config)
        self.first, self.first_norm = other.feed_forward, other.feed_forward_norm
        self.gate = nn.Linear(config.hidden_size, 1, bias=False)

    def forward(self, x, mask, positions, return_weights=False):
        x = self.add(x, self.first_norm, lambda y: 0.5 * self.first(y))
        return super().forward(x * self.gate(x).sigmoid(), mask, positions, return_weights)

    @classmethod
    def count_params(cls, config):
        return config.hidden_size

    @classmethod
    def count_flops(cls, config, length):
        return 2 * length * config.hidden_size


class Leaky(Block):
    def forward(self, x, mask, positions, return_weights=False):
        return super().forward(x + 0.1 * x.mean(1, keepdim=True), mask, positions, return_weights)


class Idle(Block):
    def __init__(self, config):
        super().__init__(config)
        self.attention_norm.unused = nn.Parameter(torch.ones(1))

    @classmethod
    def count_params(cls, config):
        return 1


def test_the_ledger_counts_what_a_block_declares():
    register_block("macaron", Macaron)
    check_block("macaron")


@pytest.mark.parametrize(
    ("made", "promise"),
    [(Miscounted, "check_counts"), (Leaky, "check_padding_has_no_say"), (Idle, "unused never learns")],
)
def test_a_broken_promise_is_named(made, promise):
    register_block("broken", made)
    with pytest.raises(AssertionError, match=promise):
        check_block("broken")


@pytest.mark.parametrize(
    ("name", "made", "message"),
    [
        ("sequential", Block, "a block named 'sequential' is registered already"),
        ("Mine", Block, "block name 'Mine': use lower-case letters"),
        (
            "mine",
            MultiHeadAttention,
            "block 'mine': MultiHeadAttention must derive from leanformer.models.blocks.Block",
        ),
        ("mine", "sequential", "block 'mine': 'sequential' is no class: give one that derives from leanformer.models"),
    ],
)
def test_mistakes_are_refused(name, made, message):
    with pytest.raises(ValueError, match=message):
        register_block(name, made)


def test_a_model_refuses_a_block_that_it_has_not(tiny, parallel):
    with pytest.raises(ValueError, match="unknown block 'paralel'; did you mean 'parallel'"):
        tiny(block="paralel")
    with pytest.raises(ValueError, match="block = 'parallel' is an encoder's: leave it out"):
        LeanformerForCausalLM(tiny(block="parallel"))
