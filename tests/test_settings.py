"""Settings: what is written is what is run, and what is misspelt is refused."""

import json

import pytest

from leanformer.settings import FinetuningSettings, TrainingSettings, parse_override, read_settings, settings_from


def test_bare_settings_are_berts_recipe():
    bare = read_settings().training
    assert (bare.batch_size, bare.sequence_length, bare.mask_rate) == (256, 128, 0.15)
    assert (bare.learning_rate, bare.weight_decay, bare.beta2, bare.schedule) == (1e-4, 0.01, 0.999, "linear")
    assert bare.steps(256 * 128) == 1_000_000


def test_file_then_overrides(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text('[model]\nattention = "shared"\n[training]\nmax_steps = 7\n[finetuning]\nepochs = 2\n')
    settings = read_settings(file, ["training.batch_size=11", "model.attention=pairwise", "finetuning.rte.epochs=5"])
    assert settings.model == {"attention": "pairwise"}
    assert (settings.training.max_steps, settings.training.batch_size) == (7, 11)
    assert settings.finetuning_for("sst2").epochs == 2.0
    assert settings.finetuning_for("rte").epochs == 5.0


def test_settings_survive_json(tmp_path):
    settings = read_settings(None, ["training.max_tokens=1000", "finetuning.rte.epochs=5", "model.hidden_size=64"])
    file = tmp_path / "settings.json"
    file.write_text(json.dumps(settings.to_dict()))
    assert read_settings(file) == settings


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("training.seed=3", (["training", "seed"], 3)),
        ("training.learning_rate = 1e-3", (["training", "learning_rate"], 1e-3)),
        ("model.attention=shared", (["model", "attention"], "shared")),
        ('model.attention="shared"', (["model", "attention"], "shared")),
        ("model.attention_options={scale_init='normal'}", (["model", "attention_options"], {"scale_init": "normal"})),
        ("training.clip_norm=none", (["training", "clip_norm"], None)),
        ("training.compile=true", (["training", "compile"], True)),
    ],
)
def test_overrides_are_toml_or_bare_words(text, expected):
    assert parse_override(text) == expected


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["training.lerning_rate=1"], "unknown setting training.lerning_rate: did you mean 'learning_rate'?"),
        (["trainig.seed=1"], "unknown table of settings [trainig]: did you mean 'training'?"),
        (["seed=1"], "write it as table.key=value"),
        (["training.seed"], "write it as table.key=value"),
        (["training.seed=1.5"], "training.seed = 1.5: expected int"),
        (["training.seed=true"], "training.seed = True: expected int"),
        (["training.batch_size=0"], "training.batch_size = 0: must be positive"),
        (["training.mask_rate=1.0"], "training.mask_rate = 1.0: must lie between"),
        (["training.learning_rate=fast"], "training.learning_rate = 'fast': expected float"),
        (["training.learning_rate=nan"], "must be finite"),
        (["training.schedule=liner"], "did you mean 'linear'?"),
        (["training.max_steps=1", "training.max_tokens=1"], "give one budget"),
        (["training.optimizer=moun"], "did you mean 'muon'?"),
        (["training.muon_rate=0"], "training.muon_rate = 0.0: must be positive"),
        (["training.table_rate=0"], "training.table_rate = 0.0: must be positive"),
        (["training.phase_rate=0"], "training.phase_rate = 0.0: must be positive"),
        (["training.tied_rate=-1"], "training.tied_rate = -1.0: must be positive"),
        (["training.batch_ramp=0"], "training.batch_ramp = 0.0: must be positive"),
        (["training.batch_ramp=1.5"], "training.batch_ramp = 1.5: is a fraction of the budget"),
        (["training.first_batch_size=257"], "first_batch_size = 257: must be positive and at most batch_size = 256"),
        (["training.first_batch_size=0"], "first_batch_size = 0: must be positive"),
        (["training.first_batch_size=8", "training.max_seconds=9"], "needs a budget in steps or tokens"),
        (["training.first_batch_size=8", "training.objective=seq2seq"], "leave it out for seq2seq"),
        (["distillation.method=minlm"], "did you mean 'minilm'?"),
        (["distillation.masked_lm_weight=1.5"], "masked_lm_weight = 1.5: is a share, from 0 to 1"),
        (["distillation.anneal=1"], "anneal = 1.0: is a fraction of the budget, from 0 to less than 1"),
        (["distillation.share_heads=1"], "share_heads = 1.0: is a share of all heads, from 0 to less than 1"),
        (["distillation.share_weight=2"], "share_weight = 2.0: has no effect without distillation.share_heads"),
        (["distillation.temperature=0"], "temperature = 0.0: must be positive"),
        (["distillation.relation_heads=0"], "relation_heads = 0: must be positive"),
        (["distillation.teacher_layer=2"], "teacher_layer = 2: has no effect on distillation.method = 'logits'"),
        (["finetuning.rte.epoch=1"], "unknown setting finetuning.epoch: did you mean 'epochs'?"),
        (["finetuning=3"], "write it as table.key=value"),
    ],
)
def test_mistakes_are_refused_with_a_remedy(overrides, message):
    with pytest.raises(ValueError, match=message.replace("[", r"\[").replace("]", r"\]").replace("?", r"\?")):
        read_settings(None, overrides)


def test_a_broken_file_is_named(tmp_path):
    for name in ("broken.toml", "broken.json"):
        file = tmp_path / name
        file.write_text("[model\n")
        with pytest.raises(ValueError, match=name):
            read_settings(file)
    with pytest.raises(FileNotFoundError):
        read_settings(tmp_path / "absent.toml")
    with pytest.raises(ValueError, match="must be a table"):
        settings_from({"model": 3})


def test_a_budget_of_tokens_is_rounded_up_to_whole_steps():
    assert TrainingSettings(max_tokens=1000, batch_size=4, sequence_length=64).steps(256) == 4
    assert TrainingSettings(max_seconds=5.0).steps(256) is None


def test_whole_numbers_pass_as_floats_and_back():
    assert FinetuningSettings.of({"epochs": 3}).epochs == 3.0
    assert TrainingSettings.of({"batch_size": 64.0}).batch_size == 64
