"""The protocol of conversion and healing at a size of seconds: two layers of 32, sixty steps, one small task."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from benchmarks.cells import mean_sd
from experiments.conversion import plan, tables
from experiments.conversion.command import main
from experiments.conversion.tables import document
from experiments.protocol import Experiment
from leanformer.reporting.render.markdown import markdown
from leanformer.settings import read_settings
from leanformer.training.run.record import RunDirectory
from tests.experiments.in_process import InProcess

DOCS = Path(__file__).parents[2] / "docs/results"
CONFIG = """
[model]
hidden_size = 32
num_hidden_layers = 2
num_attention_heads = 4
intermediate_size = 64
max_position_embeddings = 32
positions = "rotary"
norm = "pre"

[training]
max_steps = 60
batch_size = 4
sequence_length = 32
learning_rate = 1e-2
precision = "fp32"
validation_sequences = 8

[finetuning]
epochs = 1
max_length = 32
precision = "fp32"
"""


class Runner(InProcess):
    """Exports, which take a while, only if asked."""

    def __init__(self, exports: bool = False) -> None:
        super().__init__()
        self.exports = exports

    def run(self, job: Any) -> None:
        if job.arguments[0] == "export" and not self.exports:
            raise SystemExit("not here")
        super().run(job)


@pytest.fixture(scope="module")
def arguments(tmp_path_factory: pytest.TempPathFactory, data: Path) -> list[str]:
    folder = tmp_path_factory.mktemp("conversion")
    (folder / "teacher.toml").write_text(CONFIG)
    (folder / "glue" / "sst2").mkdir(parents=True)
    random = np.random.default_rng(5)
    for split, size in (("train", 64), ("validation", 40)):
        words = [("good" if label else "bad", int(label)) for label in random.integers(0, 2, size)]
        rows = [json.dumps({"sentence": f"a {word} film {i}", "label": label}) for i, (word, label) in enumerate(words)]
        (folder / "glue" / "sst2" / f"{split}.jsonl").write_text("\n".join(rows) + "\n")
    told = ["--data", data, "--task-data", folder / "glue", "--tasks", "sst2", "--config", folder / "teacher.toml"]
    told += ["--every", "pairwise,random", "--closely", "pairwise", "--few", "pairwise", "--seeds", 2, "--jobs", 1]
    return [str(argument) for argument in [*told, "--set", "training.threads=1", "--out", folder / "out"]]


@pytest.fixture(scope="module")
def out(arguments: list[str]) -> Path:
    """Everything but the exports."""
    runner = Runner()
    assert main(arguments, runner) == 1
    assert {command[0] for command in runner.ran} == {"pretrain", "convert", "distill", "finetune", "export"}
    return Path(arguments[-1])


def results(out: Path) -> dict[str, Any]:
    return json.loads((out / "results.json").read_text())


def test_every_piece_has_its_row(out: Path) -> None:
    found = results(out)
    assert found["missing"] == [
        f"exports/{name}/{form}" for name in ("teacher", "pairwise") for form in ("hub", "onnx")
    ]
    rows = [row for row in found["rows"] if "task" not in row]
    assert all(np.isfinite(row["loss"]) for row in rows)
    healed = {(row["attention"], row["method"], row["budget"], row["seed"]) for row in rows if row["kind"] == "healed"}
    expected = {(name, "logits", budget, 1) for name in ("pairwise", "random") for budget in (0.01, 0.03, 0.1)}
    assert healed == expected | {("pairwise", "logits", 0.1, 2)} | {
        ("pairwise", method, 0.1, 1) for method in plan.METHODS
    }
    assert found["teacher_tokens"] == 60 * 128
    for name in ("pairwise", "random"):
        own = {row["budget"]: row["tokens"] for row in rows if row["kind"] == "scratch" and row["attention"] == name}
        assert own == {0.1: 6 * 128, 0.4: 24 * 128}
    stored = {(row["tie"], row["share"]): row["stored_blocks"] for row in rows if row["kind"] == "shared heads"}
    assert stored == {(tie, share): 8 - int(8 * share) for tie in ("qk", "qkv") for share in (0.1, 0.3)}
    scores = {(row["kind"], row.get("attention"), row["seed"]) for row in found["rows"] if "task" in row}
    models = [
        ("teacher", None),
        ("random", None),
        ("converted", "pairwise"),
        ("healed", "pairwise"),
        ("healed", "random"),
    ]
    assert scores == {(*model, seed) for model in models for seed in (1, 2)}


def test_losses_are_held_out_and_comparable(out: Path) -> None:
    rows = [row for row in results(out)["rows"] if "task" not in row]
    (teacher,) = (row for row in rows if row["kind"] == "teacher")
    pairwise, random = (row for row in rows if row["kind"] == "converted")
    assert teacher["loss"] == pytest.approx(teacher["validations"][-1][1], abs=0.5), "more of the same held-out text"
    assert 0 <= pairwise["logits_residual"] < 1 and random["logits_residual"] is None and random["divergence"] > 0
    assert abs(pairwise["loss"] - teacher["loss"]) < 0.2


def test_what_is_finished_is_skipped_and_what_was_begun_goes_on(out: Path, arguments: list[str]) -> None:
    before, runner = results(out), Runner()
    main(arguments, runner)
    assert {command[0] for command in runner.ran} == {"export"} and results(out) == before

    begun = out / "healed/pairwise/logits/0.1/seed-2"
    RunDirectory(begun).update(status="running", results=None)
    (begun / "curve.jsonl").unlink()
    shutil.rmtree(begun / "model")
    shutil.rmtree(out / "tasks/healed/pairwise/sst2/seed-2")
    (out / "losses.json").unlink()
    runner = Runner()
    main(arguments, runner)
    verbs = [command[0] for command in runner.ran if command[0] != "export"]
    assert verbs == ["distill", "finetune"] and "--resume" in runner.ran[0]
    numbers = [
        [(row["kind"], row.get("loss"), row.get("score")) for row in each["rows"]] for each in (before, results(out))
    ]
    assert numbers[0] == numbers[1]


def test_the_report_is_made_of_the_results_alone(out: Path, tmp_path: Path) -> None:
    text = (out / "report.md").read_text()
    shutil.copyfile(out / "results.json", tmp_path / "results.json")
    assert main(["--out", str(tmp_path), "--report"]) == 0
    assert (tmp_path / "report.md").read_text() == text
    assert (
        "| pairwise, recovered |" in text
        and "## Methods of recovery" in text
        and "4 pieces failed or are missing" in text
    )
    assert "## Exports" not in text and " reached" not in text, "five steps of fine-tuning tell nothing apart"
    (tmp_path / "results.json").write_text("{}")
    with pytest.raises(ValueError, match="is no record of this protocol"):
        main(["--out", str(tmp_path), "--report"])


@pytest.mark.parametrize(("scores", "verdict"), [((0.79, 0.80, 0.81), "reached"), ((0.70, 0.80, 0.90), "not shown")])
def test_a_target_is_reached_where_its_lower_bound_is(scores: tuple[float, ...], verdict: str) -> None:
    """Random values 0.5 and a teacher of 0.8 with every seed: both regain 100 % in the mean. With a constant distance
    Fieller's bound is Student's: 1 - 2.92 * sd / sqrt(3) / 0.3, which is 0.944 for an sd of 0.01 and 0.438 for 0.1."""
    levels = {"random": (0.5, 0.5, 0.5), "teacher": (0.8, 0.8, 0.8), "healed": scores}
    rows = [
        {"kind": kind, "task": "t", "seed": seed, "score": score, "attention": "shared" if kind == "healed" else None}
        for kind, of in levels.items()
        for seed, score in enumerate(of, start=1)
    ]
    told = tables.ConversionTables({"rows": rows, "mechanisms": {"every": ["shared"]}, "tasks": ["t"]})
    sd = float(np.std(scores, ddof=1))
    assert told.lower_bound("healed", "shared") == pytest.approx(1 - stats.t.isf(0.05, 2) * sd / 3**0.5 / 0.3)
    assert f"85% are aimed at: {verdict} (one-sided 95 % lower bound" in told.headline()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_records_name_the_precision_that_was_trained_in(precision: str) -> None:
    settings = read_settings(None, [f"training.precision={precision}"])
    where = {"out": Path(), "data": Path(), "task_data": ""}
    made = Experiment(**where, settings=settings, seeds=1, jobs=2, threads=1)
    assert made.hardware()["precision"] == precision


@pytest.mark.parametrize(("record", "lines"), [("results", 40), ("longer-teacher", 10)])
def test_the_committed_page_shows_the_committed_record(record: str, lines: int) -> None:
    told, page = document(committed(record)), (DOCS / "conversion.md").read_text()
    shown = [line for line in markdown(told).splitlines() if line.startswith("|")]
    assert len(shown) > lines and not [line for line in shown if line not in page]


def test_the_committed_page_shows_what_the_second_token_type_decides() -> None:
    untrained = [row for row in committed("token-types")["rows"] if row["second_type"] == "untrained"]
    before, after = (
        {(row["kind"], row.get("attention"), row.get("task"), row["seed"]): row["score"] for row in rows}
        for rows in (untrained, [row for row in committed("longer-teacher")["rows"] if "task" in row])
    )
    page = (DOCS / "conversion.md").read_text()
    for kind, attention in (("teacher", None), ("healed", "pairwise"), ("healed", "shared")):
        cells = [
            mean_sd([scores[kind, attention, task, seed] for seed in (1, 2, 3)], 100, 1)
            for task in ("mrpc", "stsb")
            for scores in (before, after)
        ]
        name = kind if attention is None else f"{attention}, recovered"
        assert f"| {name} | {' | '.join(cells)} |" in page


def committed(name: str) -> dict[str, Any]:
    return json.loads((DOCS / "conversion" / f"{name}.json").read_text())


def test_a_dry_run_tells_the_minutes_of_every_piece_and_does_nothing(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments[:-1], str(tmp_path / "out"), "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum(" min  " in line for line in lines) == 42
    assert re.search(r" hours, 1 at a time with \d+ threads each$", lines[-1])
    assert not (tmp_path / "out").exists()


def test_targets_alone_take_a_teacher_healing_and_tasks(out: Path, arguments: list[str], tmp_path: Path) -> None:
    runner = Runner()
    assert main([*arguments[:-1], str(tmp_path / "out"), "--targets-only"], runner) == 0
    assert [command[0] for command in runner.ran] == ["pretrain", "convert", *["distill"] * 2, *["finetune"] * 5]
    found, whole = results(tmp_path / "out"), results(out)
    assert found["healing_rate"] == 1e-2 and found["missing"] == found["mechanisms"]["few"] == []
    told = [{(row["kind"], row["seed"], row["score"]) for row in each["rows"] if "task" in row and row["kind"] in kinds}
            for kinds in (("teacher", "random"),) for each in (found, whole)]  # fmt: skip
    assert told[0] == told[1], "the same teacher"
    report = (tmp_path / "out" / "report.md").read_text()
    assert "| pairwise, recovered |" in report
    assert "## Methods of recovery" not in report and "## Learning rate" not in report


def test_other_settings_and_lists_that_do_not_fit_are_refused(arguments: list[str], out: Path) -> None:
    with pytest.raises(ValueError, match="was begun with other settings, data or teacher: repeat them"):
        main([*arguments, "--set", "training.batch_size=8"], Runner())
    with pytest.raises(ValueError, match="^--few names random, which the longer list does not$"):
        main([*arguments, "--few", "random"], Runner())


@pytest.mark.slow
def test_exports_are_weighed_timed_and_measured(out: Path, arguments: list[str]) -> None:
    assert main(arguments, Runner(exports=True)) == 0
    rows = {(row["model"], row["form"]): row for row in results(out)["exports"]}
    forms = ["hub", "bf16", "int8", "onnx", "onnx int8"]
    assert list(rows) == [(name, form) for name in ("teacher", "pairwise") for form in forms]
    assert rows["teacher", "onnx int8"]["bytes"] < rows["teacher", "onnx"]["bytes"]
    for name in ("teacher", "pairwise"):
        assert rows[name, "onnx"]["loss"] == pytest.approx(rows[name, "hub"]["loss"], rel=1e-4)
        assert rows[name, "int8"]["loss"] == pytest.approx(rows[name, "hub"]["loss"], abs=0.1)
    assert rows["teacher", "hub"]["speed"] == {"median": 1.0, "low": 1.0, "high": 1.0}


def test_fieller_s_interval_is_what_the_paired_t_test_does_not_reject() -> None:
    over, under = [0.081, 0.112, 0.093, 0.104], [0.121, 0.117, 0.098, 0.133]
    for share in tables.fieller(over, under):
        p_value = stats.ttest_1samp(np.array(over) - share * np.array(under), 0).pvalue
        assert p_value == pytest.approx(0.05)
    low, high = stats.t.interval(0.95, 3, np.mean(over), stats.sem(over))
    assert tables.fieller(over, [0.5] * 4) == pytest.approx((2 * low, 2 * high))
    assert tables.fieller(over, [-0.1, 0.1, 0.2, -0.1]) is None and tables.fieller([1.0], [1.0]) is None
