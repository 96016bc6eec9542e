"""Settings: what is written is what is run, and what is misspelt is refused."""

import json

import pytest

from leanformer.records import renamed
from leanformer.records.renamed import as_recorded
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


@pytest.mark.parametrize(
    ("override", "left"),
    [
        ("training.max_seconds=9", (None, None, 9.0)),
        ("training.max_steps=5", (5, None, None)),
        ("training.max_tokens=none", (None, None, None)),
        ("training.seed=2", (None, 7000, None)),
    ],
)
def test_a_budget_of_set_replaces_that_of_the_file(override, left, tmp_path):
    file = tmp_path / "run.toml"
    file.write_text("[training]\nmax_tokens = 7000\n")
    training = read_settings(file, [override]).training
    assert (training.max_steps, training.max_tokens, training.max_seconds) == left


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
        (["training.keep_every=0"], "training.keep_every = 0: must be positive"),
        (["training.sharding=fsdp"], "training.sharding = 'fsdp': did you mean 'fsdp2'?"),
        (
            ["training.sharding=fsdp2", "training.optimizer=stable_adamw"],
            'training.sharding = \'fsdp2\': is for training.optimizer = "adamw" or "muon"',
        ),
        (["training.sharding=fsdp2", "training.compile=true"], "is not supported with training.compile"),
        (["training.activation_checkpointing=true", "training.compile=true"], "not supported with training.compile"),
        (["training.mask_rate=1.0"], "training.mask_rate = 1.0: must lie between"),
        (["training.learning_rate=fast"], "training.learning_rate = 'fast': expected float"),
        (["training.learning_rate=nan"], "must be finite"),
        (["training.schedule=liner"], "did you mean 'linear'?"),
        (["training.max_steps=1", "training.max_tokens=1"], "give one budget"),
        (["training.optimizer=moun"], "did you mean 'muon'?"),
        (["training.muon_rate=0"], "training.lr_multipliers.muon = 0.0: must be positive"),
        (["training.table_rate=0"], "training.lr_multipliers.position_tables = 0.0: must be positive"),
        (["training.phase_rate=0"], "training.lr_multipliers.phases = 0.0: must be positive"),
        (["training.tied_rate=-1"], "training.lr_multipliers.tied_projections = -1.0: must be positive"),
        (["training.lr_multipliers.phases=fast"], "training.lr_multipliers.phases = 'fast': expected float"),
        (["training.lr_multipliers=3"], "training.lr_multipliers = 3: it is a table"),
        (["training.batch_ramp=0"], "training.batch_ramp = 0.0: must be positive"),
        (["training.batch_ramp=1.5"], "training.batch_ramp = 1.5: is a fraction of the budget"),
        (["training.first_batch_size=257"], "first_batch_size = 257: must be positive and at most batch_size = 256"),
        (["training.first_batch_size=0"], "first_batch_size = 0: must be positive"),
        (
            ["training.first_batch_size=8", "training.max_seconds=9"],
            "first_batch_size change with the part of the tokens",
        ),
        (
            ["training.first_batch_size=8", "training.final_mask_rate=0.1", "training.max_seconds=9"],
            "training.max_seconds = 9: training.first_batch_size and training.final_mask_rate change",
        ),
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


OLD = {
    "muon_rate": "muon",
    "table_rate": "position_tables",
    "phase_rate": "phases",
    "tied_rate": "tied_projections",
}


@pytest.mark.parametrize("old", OLD)
def test_old_names_of_multipliers_are_read_with_a_note(old, tmp_path, capsys):
    renamed._note.cache_clear()
    group, file = OLD[old], tmp_path / "run.toml"
    file.write_text(f"[training]\n{old} = 7\n")
    assert read_settings(file).training.lr_multipliers == {group: 7.0}
    assert capsys.readouterr().err == (
        f"note: training.{old} is now training.lr_multipliers.{group}; the old name is read for one more version\n"
    )
    assert read_settings(None, [f"training.{old}=2"]).training.lr_multipliers == {group: 2.0}
    assert read_settings(file, [f"training.lr_multipliers.{group}=2"]).training.lr_multipliers == {group: 2.0}
    file.write_text(f"[training]\n{old} = 7\nlr_multipliers = {{ {group} = 7.0 }}\n")
    with pytest.raises(ValueError, match=f"{old} is another name of training.lr_multipliers.{group}, and both"):
        read_settings(file)
    assert TrainingSettings.of({"lr_multipliers": {"a": 1.0}}).updated({"lr_multipliers": {"b": 2}}).lr_multipliers == {
        "a": 1.0,
        "b": 2.0,
    }


def test_an_old_name_beside_a_value_that_is_no_table_is_one_line(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text("[training]\nlr_multipliers = 3\ntable_rate = 2\n")
    with pytest.raises(ValueError, match="training.lr_multipliers = 3: it is a table, and training.table_rate belongs"):
        read_settings(file)
    with pytest.raises(ValueError, match="lr_multipliers = 'x': it is a table"):
        as_recorded({"training": {"lr_multipliers": "x", "table_rate": 2}})


def test_names_of_transformers_are_aliases_with_a_note(tmp_path, capsys):
    renamed._note.cache_clear()
    file = tmp_path / "run.toml"
    file.write_text(
        '[model]\nposition_embedding_type = "absolute"\n[training]\nmlm_probability = 0.3\nmax_grad_norm = 2\n'
    )
    read = read_settings(file)
    assert (read.model, read.training.mask_rate, read.training.clip_norm) == ({"positions": "learned"}, 0.3, 2.0)
    notes = capsys.readouterr().err.splitlines()
    assert len(notes) == 3
    assert "note: training.max_grad_norm is transformers' name of training.clip_norm, by which records call it" in notes
    given = ["model.position_embedding_type=absolute", "training.mlm_probability=0.4"]
    again = read_settings(None, given)
    assert again.model == {"positions": "learned"} and again.training.mask_rate == 0.4
    assert not capsys.readouterr().err, "a note is printed once"
    with pytest.raises(ValueError, match="mlm_probability is another name of training.mask_rate, and both are given"):
        settings_from({"training": {"mlm_probability": 0.1, "mask_rate": 0.2}})


def test_a_task_s_own_settings_have_the_aliases_of_finetuning(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text("[finetuning]\nmax_grad_norm = 2\n[finetuning.rte]\nmax_grad_norm = 3\nepochs = 5\n")
    read = read_settings(file, ["finetuning.cola.max_grad_norm=4"])
    found = [read.finetuning_for(task).clip_norm for task in ("sst2", "rte", "cola")]
    assert (found, read.finetuning_for("rte").epochs) == ([2.0, 3.0, 4.0], 5.0)
    both = {"rte": {"max_grad_norm": 3, "clip_norm": 3}}
    with pytest.raises(ValueError, match="finetuning.rte.max_grad_norm is another name of finetuning.rte.clip_norm"):
        settings_from({"finetuning": both})


@pytest.mark.parametrize(
    ("overrides", "old", "new"),
    [
        (["training.mlm_probability=0.2", "training.mask_rate=0.3"], "training.mlm_probability", "training.mask_rate"),
        (["training.mask_rate=0.3", "training.mlm_probability=0.2"], "training.mlm_probability", "training.mask_rate"),
        (
            ["training.table_rate=3", "training.lr_multipliers={position_tables=4}"],
            "training.table_rate",
            "training.lr_multipliers.position_tables",
        ),
        (
            ["finetuning.rte.clip_norm=1", "finetuning.rte.max_grad_norm=2"],
            "finetuning.rte.max_grad_norm",
            "finetuning.rte.clip_norm",
        ),
    ],
)
def test_both_names_of_a_setting_in_overrides_are_refused(overrides, old, new):
    with pytest.raises(ValueError) as error:
        read_settings(None, overrides)
    assert (
        str(error.value) == f"--set {overrides[1]}: {old} is another name of {new}, and both are given: leave out {old}"
    )


def test_the_last_of_two_overrides_under_one_name_counts(tmp_path):
    given = ["training.mlm_probability=0.2", "training.mlm_probability=0.3", "finetuning.rte.clip_norm=1"]
    assert read_settings(None, given).training.mask_rate == 0.3
    file = tmp_path / "run.toml"
    file.write_text("[training]\nmlm_probability = 0.2\n")
    assert read_settings(file, ["training.mask_rate=0.4"]).training.mask_rate == 0.4


def test_a_record_under_old_names_says_what_differs_from_the_defaults(capsys):
    table = {"training": {"seed": 3, "table_rate": 100.0, "tied_rate": 1.0, "phase_rate": 30.0, "muon_rate": 1.0}}
    assert as_recorded(table) == {"training": {"seed": 3, "lr_multipliers": {"position_tables": 100.0}}}
    assert as_recorded({"training": {"phase_rate": 30.0}}) == {"training": {"lr_multipliers": {}}}
    assert "phase_rate" in str(table), "the record itself is left alone"
    assert not capsys.readouterr().err


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
