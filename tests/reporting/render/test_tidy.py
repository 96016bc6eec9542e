"""Results as CSV: plain numbers, a variable per column, the unit in the header, and nothing a spreadsheet would run."""

import csv
import json
import math
import re
import shutil
import statistics
from pathlib import Path

import pytest

from leanformer.reporting.render.table_files import comma_separated
from leanformer.reporting.render.tidy import tidy
from leanformer.reporting.write import write_report

NUMBER = re.compile(r"-?\d+(\.\d+)?(e[+-]?\d+)?")
TEXT = {"attention", "task", "metric", "resource", "status", "problem", "path", "verdict", "note", "seeds", "method"}
TEXT |= {
    "scored_on",
    "setting",
    "value",
    "baseline",
    "informative",
    "exploratory",
    "chosen",
    "tuning",
    "learned_from_context",
    "collapsed",
}


def read(directory):
    found = {}
    for file in (directory / "tables").glob("*.csv"):
        with file.open(encoding="utf-8", newline="") as lines:
            found[file.stem] = list(csv.DictReader(lines, strict=True))
    return found


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    from tests.reporting.conftest import Fabrication

    fabrication = Fabrication(tasks={"sst2": 0.8, "cola": 0.12}, seeds=(1, 2, 3), learning_rates=(1e-3, 2e-3))
    directory = fabrication.write(tmp_path_factory.mktemp("tidy"))
    return write_report(directory, ["csv"]), read(directory)


def test_every_cell_is_a_number_or_a_text(tables):
    _, found = tables
    assert {"mechanisms", "runs", "finetunings", "loss_differences", "task_differences"} <= set(found)
    assert {"cost_to_target", "sweep", "settings"} <= set(found)
    for rows in found.values():
        for row in rows:
            for column, cell in row.items():
                bare = column.partition(" [")[0]
                if bare not in TEXT:
                    assert not cell or NUMBER.fullmatch(cell), (column, cell)
                    assert not re.search(r"[\u00b1\u2212%,]", cell)


def test_the_numbers_are_those_of_the_results(tables):
    result, found = tables
    losses = {r["attention"]: r for r in found["loss_differences"]}
    for c in (c for c in result["comparisons"] if c["metric"] == "final_loss"):
        row = losses[c["attention"]]
        assert float(row["mean_difference [nats]"]) == c["mean_difference"]
        assert float(row["sd_difference [nats]"]) == c["sd_difference"]
        assert (float(row["ci95_low [nats]"]), float(row["ci95_high [nats]"])) == tuple(c["ci95"])
        assert (int(row["n"]), float(row["p_value_holm"]), row["seeds"]) == (c["n"], c["p_value_holm"], "1 2 3")
    row = next(r for r in found["mechanisms"] if r["attention"] == "shared")
    runs = [r for r in result["runs"] if r["attention"] == "shared" and r["chosen"]]
    seconds = [r["seconds"] for r in runs]
    assert float(row["seconds_mean [s]"]) == pytest.approx(statistics.mean(seconds), rel=1e-12)
    assert float(row["seconds_sd [s]"]) == pytest.approx(statistics.stdev(seconds), rel=1e-9)
    half = 4.302652729911275 * statistics.stdev(seconds) / math.sqrt(3)
    assert float(row["seconds_high [s]"]) - float(row["seconds_mean [s]"]) == pytest.approx(half, rel=1e-9)
    assert "tokens_per_second_mean [tokens/s]" in row and "final_loss_mean [nats]" in row and row["n"] == "3"
    assert {"margin [nats]", "ci90_low [nats]", "standard_error [nats]"} <= set(found["loss_differences"][0])
    assert "target [nats]" in found["cost_to_target"][0] and len(found["finetunings"]) == 4 * 3 * 2 * 2 * 3


def test_texts_are_no_formulas_and_negative_numbers_stay_numbers():
    rows = [{"=name": "=1+1", "value [s]": -0.5, "more": None}, {"=name": "a,b", "value [s]": 1e-7, "more": True}]
    assert comma_separated(rows) == "'=name,value [s],more\n'=1+1,-0.5,\n\"a,b\",1e-07,true\n"


def spread(mean=0.5):
    return {"n": 2, "mean": mean, "sd": 0.1, "least": 0.4, "greatest": 0.6, "ci95": [0.1, 0.9]}


STUDIES = {
    "robustness": {
        "scores": [
            {"task": "sst2", "attention": "shared", "seed": 1, "clean": {"1": 0.8},
             "points": [{"axis": "typos", "at": 0.2, "scores": {"1": 0.7}}]}
        ],
        "means": [
            {"task": "sst2", "attention": "shared", "clean": spread(), "points": [{"axis": "t", "at": 1, **spread()}]}
        ],
        "comparisons": [
            {"task": "sst2", "attention": "shared", "mean_difference": -0.5, "ci95": [-0.7, -0.3], "seeds": [1]}
        ],
        "changed_words": [],
    },
    "reproduction": {
        "rows": [
            {"table": "Table 1: time", "row": "-", "unit": "s", "effect": "percent", "attention": "shared",
             "baseline": "b",
             "published": {"attention": {"mean": 1.5, "sd": None}, "baseline": None, "effect": -12.5},
             "measured": {"attention": spread(), "baseline": spread(), "effect": -3.0, "ci95": None, "seeds": [1, 2],
                          "verdict": None},
             "verdict": "not testable at this scale", "note": ""}
        ]
    },
    "link": {
        "encoders": [
            {"encoder": "tfidf", "seeds": [1], "accuracy@1": spread(), "training_seconds": spread(), "parameters": 7,
             "index_bytes": 12, "settings": {"epochs": 1}}
        ]
    },
    "mechanisms": {
        "rows": [
            {"attention": "shared", "length": 128, "peak_bytes": None,
             "training": {"speed": {"median": 1.5, "low": 1.2, "high": 1.7},
                          "seconds": {"median": 0.25, "low": 0.2, "high": 0.3}}}
        ]
    },
    "peers": {
        "candidates": [
            {"name": "bert fp32", "peer": True, "precision": "fp32", "tokens_per_second": [10.5, 11.5],
             "speed": {"other": {"median": 1.5, "low": 1.2, "high": 1.7}}, "share_of_square": None}
        ]
    },
}  # fmt: skip
EXPECTED = {
    "robustness": {
        ("scores", "score"): ["0.8", "0.7"],
        ("differences", "ci95_low"): ["-0.7"],
        ("means", "sd"): ["0.1"] * 2,
    },
    "reproduction": {
        ("1-table-1-time", "measured_attention_mean [s]"): ["0.5"],
        ("1-table-1-time", "published_effect [%]"): ["-12.5"],
        ("1-table-1-time", "row"): ["'-"],
    },
    "link": {("encoders", "accuracy@1_mean"): ["0.5"], ("encoders", "training_seconds_ci95_high [s]"): ["0.9"]},
    "mechanisms": {("rows", "training_seconds_median [s]"): ["0.25"], ("rows", "training_speed_low"): ["1.2"]},
    "peers": {("rounds", "tokens_per_second [tokens/s]"): ["10.5", "11.5"], ("ratios", "high"): ["1.7"]},
}


@pytest.mark.parametrize("kind", STUDIES)
def test_every_study_has_its_tables(kind, tmp_path, command):
    (tmp_path / "results.json").write_text(json.dumps({"schema": 1, "kind": kind, **STUDIES[kind]}))
    status, out, _ = command("report", tmp_path, "--format", "csv")
    assert status == 0 and out.strip() == str(tmp_path / "tables")
    found = read(tmp_path)
    for (table, column), cells in EXPECTED[kind].items():
        assert [row[column] for row in found[table]] == cells
    status, _, err = command("report", tmp_path)
    assert status == 2 and "give --format csv for its tables" in err and err.count("\n") == 1


@pytest.mark.parametrize(
    "content", [{}, {"kind": "link"}, {"kind": "unheard of"}, {"kind": "peers", "candidates": [1]}]
)
def test_results_that_cannot_be_read_are_an_error_of_one_line(content, tmp_path):
    (tmp_path / "results.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="results.json is") as caught:
        write_report(tmp_path, ["csv"])
    assert "\n" not in str(caught.value) and not (tmp_path / "tables").exists()


def test_no_results_are_left_out():
    assert tidy({"kind": "link", "encoders": []}) == {}


@pytest.mark.parametrize("name", ["quickstart", "shared-weights/robustness", "reproduced/symmetric"])
def test_results_that_are_kept_without_their_runs_are_read_and_never_overwritten(name, tmp_path):
    """The committed records: each gives its tables, and asking for a report of the runs changes nothing."""
    kept = shutil.copytree(Path(__file__).parents[3] / "docs" / "results" / name, tmp_path / "kept")
    before = {path: path.read_bytes() for path in sorted(kept.rglob("*")) if path.is_file()}
    with pytest.raises(ValueError, match="without its runs: give --format csv for its tables"):
        write_report(kept)
    write_report(kept, ["csv"])
    assert list((kept / "tables").glob("*.csv"))
    assert all(path.read_bytes() == content for path, content in before.items())
