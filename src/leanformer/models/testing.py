"""The contract of block types, and how to check that a new one keeps it.

    from leanformer.models.testing import check_block
    check_block("my_block")                          # raises AssertionError naming the promise it breaks

Each promise is checked with norms behind the residual steps and before them, as far as the block has them, with biases
and without, in float64.
"""

from itertools import product
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from leanformer.models.block_types import block
from leanformer.models.config import LeanformerConfig
from leanformer.models.cost import ledger
from leanformer.models.encoder import LeanformerModel

LENGTH, VOCABULARY = 7, 23


def check_block(name: str, **settings: Any) -> None:
    """Check every promise below for the block type `name`, in a model of these settings."""
    for norm, biases in product(block(name).norm_kinds, (True, False)):
        model = _model(name, norm, biases, settings)
        for check in (check_counts, check_padding_has_no_say, check_every_parameter_learns, check_compiles_whole):
            try:
                check(model)
            except AssertionError as error:
                raise AssertionError(f"{name}, norm {norm!r}, biases {biases}: {check.__name__}: {error}") from error


def check_counts(model: LeanformerModel) -> None:
    """The ledger's parameters and FLOPs are those of the built model, whose attention is computed plainly."""
    counts = ledger(model.config, LENGTH, 0, head="none")
    found = sum(parameter.numel() for parameter in model.parameters())
    assert counts["parameters"]["total"] == found, f"{found} parameters, not {counts['parameters']['total']}"
    model.set_attn_implementation("eager")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(_ids()[:1])
    expected = round(LENGTH * counts["flops_per_token"]["forward"])
    assert counter.get_total_flops() == expected, f"{counter.get_total_flops()} FLOPs, not {expected}"


def check_padding_has_no_say(model: LeanformerModel) -> None:
    mask = torch.ones(2, LENGTH, dtype=torch.long)
    mask[:, -2:] = 0
    other = _ids()
    other[:, -2:] = VOCABULARY - 1
    first, second = (model(ids, attention_mask=mask).last_hidden_state[:, :-2] for ids in (_ids(), other))
    torch.testing.assert_close(first, second, msg="tokens that are masked change the others")


def check_every_parameter_learns(model: LeanformerModel) -> None:
    """Each parameter of the layers has a gradient, except the bias of a key, which the softmax cancels."""
    states = model(_ids()).last_hidden_state
    weight = torch.randn(states.shape, generator=torch.Generator().manual_seed(2), dtype=states.dtype)
    (states * weight).sum().backward()
    for key, parameter in model.layers.named_parameters():
        learns = parameter.grad is not None and bool(parameter.grad.abs().max() > 1e-12)
        assert learns or key.endswith("attention.projection.key.bias"), f"{key} never learns"


def check_compiles_whole(model: LeanformerModel) -> None:
    torch.compiler.reset()
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(_ids()).last_hidden_state, model(_ids()).last_hidden_state)


def _model(name: str, norm: str, biases: bool, settings: dict[str, Any]) -> LeanformerModel:
    """Returns a small model of two layers; its values are a function of a seed, and torch's generator is left alone."""
    sizes = {"vocab_size": VOCABULARY, "hidden_size": 15, "num_attention_heads": 3, "intermediate_size": 11}
    sizes |= {"num_hidden_layers": 2, "max_position_embeddings": 13}
    dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    own = {"block": name, "norm": norm, "biases": biases}
    config = LeanformerConfig.from_settings({**own, **sizes, **dropout, **settings})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = LeanformerModel(config).double().eval()
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    return model


def _ids() -> Tensor:
    return torch.randint(5, VOCABULARY, (2, LENGTH), generator=torch.Generator().manual_seed(3))
