"""Learning rates are chosen by validation on tuning seeds, and the reported seeds are others: at every instant."""

import json

import pytest

from leanformer.comparison import carrying_out

RATES = (1e-5, 3e-3)
TUNING = [f"runs/{arm}-lr{rate:g}/seed-1001" for arm in ("dot_product", "shared") for rate in RATES]


def loss(out, path, part="test"):
    return json.loads((out / path / "run.json").read_text())["results"]["scores"][part]["loss"]


def best(out, arm, seeds=(1001,)):
    """The rate with the lowest mean validation loss, from the records themselves."""
    means = {
        r: sum(loss(out, f"runs/{arm}-lr{r:g}/seed-{seed}", "valid") for seed in seeds) / len(seeds) for r in RATES
    }
    return min(means, key=means.get)


@pytest.fixture
def arguments(data, tiny):
    rates = ",".join(map(str, RATES))
    return ["compare", "--data", data, "--attention", "dot_product,shared", "--seeds", "1-2", "--jobs", "1",
            "--learning-rates", rates, *tiny, "--quiet"]  # fmt: skip


@pytest.fixture(scope="module")
def store():
    return {}


@pytest.fixture
def whole(store, arguments, executor, command, tmp_path_factory):
    """A finished comparison of two arms at two rates, one tuning seed and two reported ones; made once."""
    if not store:
        out = tmp_path_factory.mktemp("whole") / "out"
        store["ran"] = executor()
        store["outcome"] = command(*arguments, "--out", out)
        store["out"] = out
    assert store["outcome"][0] == 0, store["outcome"]
    return store["out"]


def test_the_reported_runs_have_the_rates_that_the_tuning_seeds_chose(whole, store, listed_runs):
    reported = [
        f"runs/{arm}-lr{best(whole, arm):g}/seed-{seed}" for seed in (1, 2) for arm in ("dot_product", "shared")
    ]
    assert store["ran"] == TUNING + reported
    runs = listed_runs(whole)
    assert list(runs) == TUNING + reported
    assert [path for path, run in runs.items() if run.get("tuning")] == TUNING


def test_tuning_runs_are_in_the_sweep_alone(whole):
    results = json.loads((whole / "results.json").read_text())
    assert results["seeds"] == [1, 2]
    for arm, rows in results["sweep"].items():
        assert [row["learning_rate"] for row in rows] == list(RATES)
        assert [row["n"] for row in rows] == [1, 1]
        for row in rows:
            assert row["mean_final_loss"] == loss(whole, f"runs/{arm}-lr{row['learning_rate']:g}/seed-1001", "valid")
            assert row["chosen"] == (row["learning_rate"] == best(whole, arm))
    (difference,) = [c for c in results["comparisons"] if c["metric"] == "final_loss"]
    pairs = [[loss(whole, f"runs/{arm}-lr{best(whole, arm):g}/seed-{seed}") for arm in ("shared", "dot_product")]
             for seed in (1, 2)]  # fmt: skip
    assert difference["seeds"] == [1, 2]
    assert difference["mean_difference"] == pytest.approx(sum(a - b for a, b in pairs) / 2, abs=1e-12)
    assert [run["tuning"] for run in results["runs"]] == [True] * 4 + [False] * 4
    assert not any(run["chosen"] for run in results["runs"] if run["tuning"])
    report = (whole / "report.md").read_text()
    assert "tuning seeds, which are in no other table" in report
    assert "chosen by the very losses that are compared" not in report


def test_a_kill_between_the_record_and_the_plan_costs_no_plan(
    whole, arguments, executor, command, tmp_path, monkeypatch
):

    def kill(*_, **__):
        raise executor.Killed

    out = tmp_path / "out"
    with monkeypatch.context() as patch, pytest.raises(executor.Killed):
        patch.setattr(carrying_out, "write_plan", kill)
        command(*arguments, "--out", out)
    assert (out / "comparison.json").exists() and not (out / "plan.json").exists()
    executor(whole)
    assert command(*arguments, "--out", out, "--autoresume")[0] == 0
    assert json.loads((out / "plan.json").read_text())["tuning_seeds"] == [1001]


def test_a_plan_that_was_lost_is_not_made_up(whole, arguments, executor, command, tmp_path):
    out = tmp_path / "out"
    executor(whole)
    assert command(*arguments, "--out", out)[0] == 0
    (out / "plan.json").unlink()
    assert command(*arguments, "--out", out, "--resume")[0] == 0
    assert not (out / "plan.json").exists()
    assert "No plan was written before these runs" in (out / "report.md").read_text()


def test_an_arm_that_was_started_cannot_be_left_out(whole, arguments, executor, command, tmp_path, listed_runs):
    out = tmp_path / "out"
    executor(whole)
    assert command(*arguments, "--out", out)[0] == 0
    assert command(*arguments, "--attention", "dot_product", "--out", out, "--resume")[0] == 0
    assert set(listed_runs(out)) == set(listed_runs(whole))
    assert "shared" in json.loads((out / "results.json").read_text())["attention"]


@pytest.mark.parametrize("kill_after", range(9))
def test_a_kill_at_any_boundary_changes_nothing(whole, arguments, executor, command, tmp_path, kill_after, listed_runs):
    """Before the first run, in either phase, between the two (4), and after the last run (8)."""
    out = tmp_path / "out"
    before = executor(whole, kill_after)
    if kill_after < 8:
        with pytest.raises(executor.Killed):
            command(*arguments, "--out", out)
    else:
        assert command(*arguments, "--out", out)[0] == 0
    written = json.loads((out / "plan.json").read_text())
    after = executor(whole)
    status, _, error = command(*arguments, "--out", out, "--autoresume")
    assert status == 0, error
    assert before + after == list(listed_runs(whole))
    assert json.loads((out / "plan.json").read_text()) == written
    old, new = (json.loads((folder / "results.json").read_text()) for folder in (whole, out))
    assert new["comparisons"] == old["comparisons"] and new["runs"] == old["runs"] and new["sweep"] == old["sweep"]


def test_more_tuning_seeds_and_arms_choose_anew_and_nothing_started_is_left_out(
    whole, arguments, executor, command, tmp_path, listed_runs
):
    out = tmp_path / "out"
    executor(whole)
    assert command(*arguments, "--out", out)[0] == 0
    ran = executor()
    more = [*arguments, "--tuning-seeds", "1001-1002", "--out", out, "--resume"]
    assert command(*more)[0] == 0
    assert set(ran) >= {path.replace("1001", "1002") for path in TUNING}
    runs = listed_runs(out)
    assert set(runs) >= set(listed_runs(whole))
    for arm in ("dot_product", "shared"):
        rate = best(out, arm, seeds=(1001, 1002))
        assert {f"runs/{arm}-lr{rate:g}/seed-{seed}" for seed in (1, 2)} <= set(runs)
    assert json.loads((out / "plan.json").read_text())["amendments"][0]["tuning_seeds"] == [1002]


def test_a_rate_that_diverged_is_not_tried_again_and_not_chosen(whole, arguments, executor, command, tmp_path):
    out = tmp_path / "out"
    executor(whole, 4)
    with pytest.raises(executor.Killed):
        command(*arguments, "--out", out)
    gone = f"runs/shared-lr{best(whole, 'shared'):g}/seed-1001"
    record = json.loads((out / gone / "run.json").read_text())
    record |= {"status": "failed", "error": "loss is inf at step 3: lower learning_rate", "results": None}
    del record["checksum"]
    (out / gone / "run.json").write_text(json.dumps(record))
    ran = executor()
    status, _, error = command(*arguments, "--out", out, "--resume")
    assert status == 0, error
    (other,) = set(RATES) - {best(whole, "shared")}
    assert gone not in ran and f"runs/shared-lr{other:g}/seed-1" in ran
    assert "The learning rate of shared is chosen without 1 tuning run" in (out / "report.md").read_text()


def test_a_tuning_run_that_failed_stops_the_comparison_before_the_choice(
    whole, arguments, executor, command, tmp_path, monkeypatch, listed_runs
):
    monkeypatch.setattr(carrying_out, "run_jobs", lambda jobs, *_, **__: {job: "ended by SIGKILL" for job in jobs})
    out = tmp_path / "out"
    status, _, error = command(*arguments, "--out", out)
    assert status == 2 and "4 of the runs failed" in error and "no learning rate is chosen without them" in error
    assert list(listed_runs(out)) == TUNING


def test_the_estimate_counts_both_phases(arguments, command, tmp_path):
    status, said, _ = command(*(a for a in arguments if a != "--quiet"), "--out", tmp_path / "out", "--dry-run")
    assert status == 0 and "8 runs to go" in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--tuning-seeds", "2-3"], "seed 2 is reported and used for tuning"),
        (["--seeds", "1000-1002"], "seed 1001 is reported and used for tuning"),
        (["--learning-rates", "1e-3,0.001"], "--learning-rates names a rate twice"),
        (["--main", "dot_product"], "is the baseline"),
        (["--main", "pairwise"], "--main pairwise: no such arm; known: dot_product, shared"),
        (["--margin", "0"], "--margin 0: write a number above 0"),
        (["--seeds", "3-1"], "--seeds '3-1': no seed"),
        (["--seeds", "1,1-2"], "--seeds '1,1-2': a seed stands there twice"),
        (["--seeds", "many"], "--seeds 'many': write how many, or which: 3, 11-25 or 1,4,7-9"),
    ],
)
def test_a_mistake_is_refused_before_anything_is_written(arguments, command, tmp_path, more, message):
    status, _, error = command(*arguments, *more, "--out", tmp_path / "out")
    assert status == 2 and message in error
    assert not (tmp_path / "out").exists()


def test_tuning_seeds_are_for_learning_rates(data, tiny, command, tmp_path):
    status, _, error = command("compare", "--data", data, *tiny, "--tuning-seeds", "2", "--out", tmp_path / "out")
    assert status == 2 and "add --learning-rates" in error
