"""A layer can be pickled, copied and sent to a process that knows nothing of it, whatever is in its slots."""

import copy
import pickle
from multiprocessing import get_context

import pytest
import torch
from torch.testing import assert_close

from leanformer.attention import MIXERS, MultiHeadAttention, Shape, build_mixer, load_plugin, mechanism, names

PLUGIN = """
import torch
from leanformer.attention import PROJECTIONS, Mechanism, register
from leanformer.attention.mechanisms.dot_product import DotProduct


class Halved(DotProduct):
    def forward(self, heads, x, memory, positions):
        return super().forward(heads._replace(query=heads.query / 2), x, memory, positions)


register(Mechanism("halved", PROJECTIONS["separate"], Halved, "nobody 2026"))
"""
MIXTURES = [
    ("random+dense+dot_product", {"weights": "softmax", "per_head": True}),
    ("factorized_dense+symmetric", {"tie_query": True}),
    ("dot_product+pairwise", {"projection": "shared_query_key"}),
]
ROWS = [*((name, {}) for name in names()), *MIXTURES]
X = torch.linspace(-1, 1, 2 * 5 * 12).reshape(2, 5, 12)


def answers(layer):
    with torch.no_grad():
        return layer.eval()(X)


@pytest.mark.parametrize(("name", "options"), ROWS, ids=lambda value: value if isinstance(value, str) else "")
@pytest.mark.parametrize("kind", [kind for kind, made in MIXERS.items() if made.attends])
def test_copies_answer_alike(kind, name, options):
    try:
        layer = MIXERS[kind](name, 12, 2, 7, **options)
    except ValueError:
        pytest.skip(f"{kind} has no place for {name}")
    expected = answers(layer)
    for again in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), pickle.loads(pickle.dumps(layer.mechanism))):
        if again == layer.mechanism:
            assert again is mechanism(name)
            continue
        assert type(again.compatibility) is type(layer.compatibility)
        assert torch.equal(answers(again), expected)
        assert all(mine is not theirs for mine, theirs in zip(again.parameters(), layer.parameters(), strict=True))


@pytest.mark.parametrize("kind", [kind for kind, made in MIXERS.items() if not made.attends])
def test_copies_of_a_mixer_without_heads_answer_alike(kind):
    layer = build_mixer(kind, {}, "dot_product", {}, Shape(12, 2, 7))
    for again in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert type(again) is type(layer) and torch.equal(answers(again), answers(layer))
        assert all(mine is not theirs for mine, theirs in zip(again.parameters(), layer.parameters(), strict=True))


def test_a_worker_answers_alike(own_registry, tmp_path):
    """It is a process of its own, which loads the plug-in because a layer needs it."""
    file = tmp_path / "halved.py"
    file.write_text(PLUGIN)
    load_plugin(file)
    rows = [("pairwise", {}), *MIXTURES, ("halved", {}), ("random+halved", {})]
    layers = [MultiHeadAttention(name, 12, 2, 7, **options).requires_grad_(False).eval() for name, options in rows]
    with get_context("spawn").Pool(1) as pool:
        for layer, answer in zip(layers, [pool.apply(layer, (X,)) for layer in layers], strict=True):
            assert_close(answer, layer(X))
