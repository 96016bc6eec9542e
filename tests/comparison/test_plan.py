"""The plan: which runs, with which settings, and when a directory may be continued."""

import inspect
import json

import pytest

from leanformer.comparison.choosing import tuning_tokens_of
from leanformer.comparison.compare import compare
from leanformer.comparison.continuing import check_continues, invariants
from leanformer.comparison.plan import Plan, default_tuning_seeds
from leanformer.comparison.variants import parse_variants
from leanformer.settings import read_settings
from leanformer_cli.compare import compare as compare_command
from leanformer_cli.options import seeds_of


def plan(attention="dot_product,shared", overrides=("training.max_steps=5",), **more):
    values = {
        "settings": read_settings(None, overrides),
        "variants": parse_variants(attention),
        "seeds": [1, 2],
        "learning_rates": None,
        "tasks": [],
        "task_seeds": 1,
        "task_data": None,
        "data": {"path": "data", "hash": "abc"},
        "plugin": None,
        "command": "leanformer compare",
    }
    return Plan(**values | more)


def started(tmp_path, first):
    (tmp_path / "comparison.json").write_text(json.dumps(first.record()))
    return tmp_path


def test_runs_are_balanced_over_seeds():
    runs = plan().runs
    assert [(run.variant.label, run.seed, run.path) for run in runs] == [
        ("dot_product", 1, "runs/dot_product/seed-1"),
        ("shared", 1, "runs/shared/seed-1"),
        ("dot_product", 2, "runs/dot_product/seed-2"),
        ("shared", 2, "runs/shared/seed-2"),
    ]


def test_the_command_has_the_defaults_of_the_function():
    ours, theirs = (inspect.signature(f).parameters for f in (compare_command, compare))
    assert ours["margin"].default == theirs["margin"].default == 0.03
    assert ours["task_margin"].default / 100 == theirs["task_margin"].default == 0.01


@pytest.mark.parametrize(
    ("seeds", "tuning"), [([1], [1001]), ([1, 2, 3], [1001]), (range(11, 16), [1001]), (range(1, 7), [1001, 1002])]
)
def test_there_is_a_tuning_seed_for_every_three_reported_ones(seeds, tuning):
    assert default_tuning_seeds(list(seeds)) == tuning


@pytest.mark.parametrize(
    ("text", "first", "numbers"),
    [("3", 1, [1, 2, 3]), ("2", 1001, [1001, 1002]), ("11-13", 1, [11, 12, 13]), ("1,4,7-9", 1, [1, 4, 7, 8, 9]),
     ("5-5", 1, [5])],
)  # fmt: skip
def test_seeds_are_a_count_or_a_list(text, first, numbers):
    assert seeds_of(text, "--seeds", first) == numbers


def test_the_number_of_a_seed_is_not_taken_for_a_number_of_seeds():
    with pytest.raises(ValueError, match="--seeds 1001: that is 1001 seeds; write 1001-1001 for the seed 1001 alone"):
        seeds_of("1001", "--seeds")


def test_a_shorter_tuning_run_begins_as_its_own_arm_does():
    """symmetric warms up for half of 6,000 tokens, so for all of a tuning run's 1,200; an arm of 1,000 has no 1,200."""
    arms = "dot_product,symmetric[training.warmup=0.5],shared[training.max_tokens=1000]"
    budget = ("training.max_tokens=6000", "training.warmup=0.1")
    made = plan(arms.rpartition(",")[0], budget, learning_rates=[1e-3], tuning_seeds=[1001], tuning_tokens=1200)
    assert [run.settings(made.settings).training.warmup for run in made.tuning_runs] == [0.5, 1.0]
    short = plan(arms, budget, learning_rates=[1e-3], tuning_seeds=[1001], tuning_tokens=1200)
    with pytest.raises(
        ValueError, match=r"--tuning-tokens 1200: shared\[training.max_tokens=1000\] is trained on 1000"
    ):
        _ = short.tuning_runs


def test_a_shorter_tuning_run_is_the_beginning_of_a_reported_one():
    """A tenth of 6,000 tokens warm up, so half of the tuning runs' 1,200."""
    budget = ("training.max_tokens=6000", "training.warmup=0.1", "training.score_at=[1200,6000]")
    made = plan(overrides=budget, learning_rates=[1e-3], tuning_seeds=[1001], tuning_tokens=1200, chosen=dict.fromkeys(
        ("dot_product", "shared"), 1e-3))  # fmt: skip
    tuning, reported = (runs[0].settings(made.settings).training for runs in (made.tuning_runs, made.reported_runs))
    assert (tuning.max_tokens, tuning.warmup, tuning.score_at) == (1200, 0.5, None)
    assert (reported.max_tokens, reported.warmup, reported.score_at) == (6000, 0.1, [1200, 6000])
    assert made.record()["tuning_tokens"] == 1200
    by_hand = read_settings(None, [*budget, *made.tuning_runs[0].overrides()])
    assert by_hand.training == tuning


@pytest.mark.parametrize(
    ("budget", "rates", "message"),
    [
        ("training.max_tokens=6000", None, "--tuning-tokens is for choosing a learning rate: add --learning-rates"),
        (
            "training.max_tokens=600",
            [1e-3],
            "--tuning-tokens 1200: a tuning run is a part of training.max_tokens = 600;",
        ),
        ("training.max_steps=6", [1e-3], "--tuning-tokens 1200: a tuning run is a part of training.max_tokens = None;"),
    ],
)
def test_tuning_tokens_are_a_part_of_a_budget_in_tokens(budget, rates, message, tmp_path):
    with pytest.raises(ValueError, match=message) as caught:
        tuning_tokens_of(tmp_path, read_settings(None, [budget]).training, rates, 1200)
    assert "\n" not in str(caught.value)


def test_a_resumed_comparison_keeps_its_tuning_tokens(tmp_path):
    budget = ("training.max_tokens=6000",)
    first = plan(overrides=budget, learning_rates=[1e-3], tuning_seeds=[1001], tuning_tokens=1200)
    out = started(tmp_path, first)
    assert tuning_tokens_of(out, first.settings.training, [1e-3], None) == 1200


def test_every_rate_is_tried_on_the_tuning_seeds_and_one_is_reported():
    made = plan(learning_rates=[1e-3, 2e-3], tuning_seeds=[1001])
    tuning = [run.record() for run in made.tuning_runs]
    assert all(run["tuning"] and run["seed"] == 1001 for run in tuning)
    assert {(run["attention"], run["learning_rate"], run["path"]) for run in tuning} == {
        (arm, rate, f"runs/{arm}-lr{rate:g}/seed-1001") for arm in ("dot_product", "shared") for rate in (1e-3, 2e-3)
    }
    assert made.reported_runs == [] and len(made.foreseen_runs) == 4 + 2 * 2
    chosen = plan(learning_rates=[1e-3, 2e-3], tuning_seeds=[1001], chosen={"dot_product": 2e-3, "shared": 1e-3})
    reported = [run.record() for run in chosen.reported_runs]
    assert [(run["attention"], run["seed"], run["learning_rate"]) for run in reported] == [
        ("dot_product", 1, 2e-3), ("shared", 1, 1e-3), ("dot_product", 2, 2e-3), ("shared", 2, 1e-3),
    ]  # fmt: skip
    assert not any("tuning" in run for run in reported)
    assert chosen.foreseen_runs == chosen.runs and len(chosen.runs) == 4 + 4


def test_a_run_differs_from_the_common_settings_in_its_own_three():
    label = "pairwise[coefficients_init=identity]"
    made = plan(label, learning_rates=[3e-3], tuning_seeds=[1001], chosen={label: 3e-3})
    run = made.reported_runs[1]
    settings = run.settings(made.settings)
    assert settings.model == {"attention": "pairwise", "attention_options": {"coefficients_init": "identity"}}
    assert (settings.training.seed, settings.training.learning_rate) == (2, 3e-3)
    again = read_settings(None, ["training.max_steps=5", *run.overrides()])
    assert again.model == settings.model and again.training == settings.training


def test_a_variant_may_have_sizes_of_its_own():
    common = ("training.max_steps=5", "model.hidden_size=64")
    made = plan("dot_product,dot_product[model.intermediate_size=640]", common)
    assert made.baseline == "dot_product"
    run = made.runs[1]
    model = {"hidden_size": 64, "attention": "dot_product", "intermediate_size": 640}
    assert run.settings(made.settings).model == read_settings(None, [*common, *run.overrides()]).model == model
    assert run.path == "runs/dot_product[model.intermediate_size=640]/seed-1"


def test_a_variant_may_have_entries_of_its_own_in_a_table():
    common = ("training.max_steps=5", "model.mixer=convolution", "model.mixer_options.kernel=5")
    made = plan("dot_product,dot_product[model.mixer_options.head_ratio=3]", common)
    run = made.runs[1]
    model = {"mixer": "convolution", "attention": "dot_product", "mixer_options": {"kernel": 5, "head_ratio": 3}}
    assert run.settings(made.settings).model == read_settings(None, [*common, *run.overrides()]).model == model


def test_a_variant_may_be_trained_in_a_way_of_its_own():
    common = ("training.max_steps=5", "training.learning_rate=1e-3")
    made = plan("dot_product,dot_product[training.learning_rate=2e-3,training.clip_norm=none]", common)
    one, two = made.runs[:2]
    assert (one.learning_rate, two.learning_rate) == (1e-3, 2e-3) == (1e-3, two.record()["learning_rate"])
    assert two.settings(made.settings).training == read_settings(None, [*common, *two.overrides()]).training
    assert two.settings(made.settings).training.clip_norm is None


def test_baseline_is_dot_product_or_the_first():
    assert plan("shared,dot_product").baseline == "dot_product"
    assert plan("shared,symmetric").baseline == "shared"


def test_more_arms_seeds_and_tasks_may_join(tmp_path):
    started(tmp_path, plan())
    later = plan("dot_product,shared,pairwise", seeds=[1, 2, 3], tasks=["rte"], task_data="glue")
    check_continues(tmp_path, later, resume=True)


def test_tuning_runs_go_on_counting_and_are_never_reported(tmp_path):
    rates = {"learning_rates": [1e-3, 2e-3], "tuning_seeds": [1001]}
    started(tmp_path, plan(**rates, chosen={"dot_product": 1e-3, "shared": 1e-3}))
    check_continues(tmp_path, plan(learning_rates=[1e-3, 2e-3, 4e-3], tuning_seeds=[1001, 1002]), resume=True)
    for later, message in [
        (plan(learning_rates=[2e-3], tuning_seeds=[1001]), "this command leaves out 0.001: add it"),
        (plan(**rates | {"tuning_seeds": [1002]}), "this command leaves out 1001: add it"),
        (plan(**rates | {"tuning_seeds": [1001, 2]}, seeds=[1]), "seed 2 is a reported one"),
    ]:
        with pytest.raises(ValueError, match=message):
            check_continues(tmp_path, later, resume=True)


def test_a_sweep_of_an_older_version_cannot_go_on(tmp_path):
    """Its rates were chosen by the runs that it reports."""
    record = plan(learning_rates=[1e-3], tuning_seeds=[1001], chosen={"dot_product": 1e-3}).record()
    del record["tuning_seeds"]
    (tmp_path / "comparison.json").write_text(json.dumps(record))
    with pytest.raises(ValueError, match="on the reported seeds, as older versions did"):
        check_continues(tmp_path, plan(learning_rates=[1e-3], tuning_seeds=[1001]), resume=True)


@pytest.mark.parametrize(
    ("later", "message"),
    [
        (plan(overrides=["training.max_steps=6"]), "training.max_steps = 5, this command says 6"),
        (plan(data={"path": "data", "hash": "xyz"}), "data.hash"),
        (plan(overrides=["training.max_steps=5", "model.hidden_size=64"]), "model.hidden_size = None"),
        (plan(overrides=["training.max_steps=5", "training.learning_rate=1e-3"]), "training.learning_rate"),
    ],
)
def test_another_experiment_is_refused(tmp_path, later, message):
    with pytest.raises(ValueError, match=message):
        check_continues(started(tmp_path, plan()), later, resume=True)


def test_a_directory_is_not_taken_by_mistake(tmp_path):
    check_continues(tmp_path, plan(), resume=False)
    check_continues(tmp_path / "new", plan(), resume=False)
    with pytest.raises(FileNotFoundError, match="no comparison to resume"):
        check_continues(tmp_path, plan(), resume=True)
    (tmp_path / "thesis.txt").write_text("")
    with pytest.raises(FileExistsError, match="not empty"):
        check_continues(tmp_path, plan(), resume=False)
    with pytest.raises(FileExistsError, match="--resume"):
        check_continues(started(tmp_path, plan()), plan(), resume=False)
    (tmp_path / "comparison.json").write_text("{")
    with pytest.raises(ValueError, match="damaged"):
        check_continues(tmp_path, plan(), resume=True)


def test_a_training_setting_that_an_older_version_did_not_have_is_its_default(make_plan):
    record = make_plan().record()
    before = record | {"settings": {table: dict(values) for table, values in record["settings"].items()}}
    del before["settings"]["training"]["activation_checkpointing"]
    assert invariants(before) == invariants(record)
    before["settings"]["training"]["batch_size"] += 1
    assert invariants(before) != invariants(record)
