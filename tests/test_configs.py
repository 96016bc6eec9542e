"""The configs that come with the repository, and the recipes that come with the package."""

from pathlib import Path

import pytest
import torch

from leanformer import recipes
from leanformer.models import LeanformerConfig
from leanformer.models.cost import ledger
from leanformer.settings import Settings, read_settings
from leanformer.training.objectives.table import OBJECTIVES

CONFIGS = Path(__file__).parents[1] / "configs"
RECIPES = [recipes.path(name) for name in recipes.names()]
LADDER = [recipes.path("bert"), *sorted((CONFIGS / "recipes" / "ladder").glob("*.toml")), recipes.path("fast")]
STEPS = {
    "rotary": {"model.positions"},
    "pre-norm": {"model.norm"},
    "no-dropout": {"model.hidden_dropout_prob", "model.attention_probs_dropout_prob"},
    "no-biases": {"model.biases"},
    "gated": {"model.feed_forward", "model.intermediate_size"},
    "qk-norm": {"model.qk_norm"},
    "zero-outputs": {"model.zero_outputs"},
    "masks": {"training.mask_rate", "training.final_mask_rate"},
    "warmup-stable-decay": {"training.schedule", "training.decay"},
    "batch-ramp": {"training.first_batch_size", "training.micro_batch_size"},
    "fast": {"training.optimizer", "training.lr_multipliers"},
}


@pytest.mark.parametrize("path", [*sorted(CONFIGS.rglob("*.toml")), *RECIPES], ids=lambda path: path.stem)
def test_every_config_builds_its_model(path):
    settings = read_settings(path)
    config = model(settings)
    assert config.max_position_embeddings >= settings.training.sequence_length
    with torch.device("meta"):
        OBJECTIVES[settings.training.objective].model(config)


def test_a_step_of_the_ladder_changes_one_thing():
    names = [path.stem.lstrip("0123456789").removeprefix("-") for path in LADDER]
    assert names == ["bert", *STEPS]
    for below, above, name in zip(LADDER, LADDER[1:], names[1:], strict=False):
        assert differences(read_settings(below), read_settings(above)) == STEPS[name]


def test_a_gated_layer_has_as_many_parameters():
    below, above = (LADDER[i] for i, name in enumerate(["", *STEPS]) if name in ("no-biases", "gated"))
    plain, gated = (ledger(model(read_settings(path)), 128)["parameters"]["feed_forward"] for path in (below, above))
    assert gated == pytest.approx(plain, rel=0.01)


def model(settings: Settings) -> LeanformerConfig:
    return LeanformerConfig.from_settings({**settings.model, "vocab_size": 100})


def differences(one: Settings, two: Settings) -> set[str]:
    before, after = (
        {f"{table}.{key}": value for table in ("model", "training") for key, value in settings.to_dict()[table].items()}
        for settings in (one, two)
    )
    return {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
