"""Settings of runs that take a second, as keywords, and one such run."""

import pytest

import leanformer as lf

SMALL = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 32,
    "positions": "rotary",
    "max_steps": 4,
    "batch_size": 4,
    "sequence_length": 32,
    "validate_every": 2,
    "validation_sequences": 8,
    "log_every": 1,
    "threads": 1,
}


@pytest.fixture(scope="session")
def small():
    return dict(SMALL)


@pytest.fixture(scope="session")
def run(data, tmp_path_factory):
    return lf.pretrain(data, out=tmp_path_factory.mktemp("run") / "pairwise", attention="pairwise", quiet=True, **SMALL)


@pytest.fixture(scope="session")
def comparison(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("compared") / "comparison"
    return lf.compare(data, out=out, attention=["dot_product", "symmetric"], seeds=2, jobs=1, quiet=True, **SMALL)
