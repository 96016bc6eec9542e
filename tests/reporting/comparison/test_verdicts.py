"""What a report says where nothing, or too little, can be compared: never a verdict."""

import json
import re
import shutil

import pytest

from leanformer.reporting.numbers.statistics import PairedDifference, paired_difference, with_holm
from leanformer.reporting.write import write_report

TASKS = {"sst2": 0.8, "cola": 0.12}


def gone(directory, *names, status=None):
    """Takes these mechanisms' runs away, or lets them fail."""
    for name in names:
        for file in directory.glob(f"runs/{name}*/seed-*/run.json"):
            if status is None:
                shutil.rmtree(file.parent)
            else:
                record = json.loads(file.read_text()) | {"status": status, "error": "RuntimeError: no space left"}
                file.write_text(json.dumps(record | {"results": None}))


def everything(directory):
    """All that the report writes, as plain text."""
    files = [
        directory / "report.md",
        directory / "report.html",
        *directory.glob("tables/*"),
        *directory.glob("figures/*"),
    ]
    text = " ".join(file.read_text(encoding="utf-8") for file in files)
    return " ".join(re.sub(r"<style>.*?</style>|<[^>]*>|\\", " ", text, flags=re.DOTALL).split())


def judged(directory):
    """Whether a table of the report holds a verdict of a test."""
    cells = re.findall(r"\| (better|worse|equivalent|undecided)\b", (directory / "report.md").read_text())
    return bool(cells)


def verdicts(found, name):
    return {c["verdict"] for c in found["comparisons"] if c["attention"] == name}


def test_a_verdict_needs_a_test():
    nothing, single, constant = (with_holm([paired_difference(d)])[0] for d in ([], [0.2], [0.2, 0.2, 0.2]))
    assert nothing.verdict(higher_is_better=False) == "not compared"
    assert single.verdict(higher_is_better=False) == constant.verdict(higher_is_better=False) == "not tested"
    at_alpha = PairedDifference(3, 0.1, 0.2, 2, p_value_holm=0.05, p_equivalence_holm=0.05)
    assert at_alpha.verdict(higher_is_better=True) == "undecided"


@pytest.mark.parametrize("status", [None, "failed", "stopped"])
@pytest.mark.parametrize("lost", [("dot_product",), ("symmetric",), ("dot_product", "symmetric")])
def test_no_finished_pair_is_not_compared(fabricate, lost, status):
    directory = fabricate(effects={"dot_product": 0.0, "symmetric": 0.1}, seeds=(1, 2, 3), tasks=TASKS)
    gone(directory, *lost, status=status)
    found = write_report(directory, ["latex", "csv"])
    assert verdicts(found, "symmetric") == {"not compared"}
    assert not judged(directory)
    assert "not compared" in everything(directory)
    assert re.search(r"[Nn]othing can be compared|cannot be judged", found["headline"])


def test_one_mechanism_that_failed_leaves_the_others_their_verdicts(fabricate):
    directory = fabricate(seeds=(1, 2, 3), tasks=TASKS, noise=0.002)
    gone(directory, "shared", status="failed")
    found = write_report(directory)
    assert verdicts(found, "shared") == {"not compared"} and "worse" not in verdicts(found, "shared")
    assert {c["verdict"] for c in found["comparisons"] if c["metric"] == "final_loss"} > {"not compared"}
    assert "shared cannot be judged against dot_product: no pair of finished runs." in found["headline"]
    rows = [line for line in (directory / "report.md").read_text().splitlines() if line.startswith("| shared |")]
    assert rows[0].endswith("| — | — | not compared |") and any("| 0 of 3 |" in row for row in rows)


def test_one_pair_is_not_tested(fabricate):
    directory = fabricate(seeds=(1,), tasks=TASKS)
    found = write_report(directory)
    assert {c["verdict"] for c in found["comparisons"]} == {"not tested"}
    assert not judged(directory)


def test_losses_that_are_not_numbers_are_not_compared(fabricate, edit):
    directory = fabricate(effects={"dot_product": 0.0, "symmetric": 0.1}, seeds=(1, 2))
    for file in directory.glob("runs/symmetric/*/run.json"):
        edit(file, lambda record: record["results"].update(final_loss=float("nan")))
    found = write_report(directory)
    assert {run["status"] for run in found["runs"]} == {"finished", "diverged"}
    assert verdicts(found, "symmetric") == {"not compared"}
    assert not judged(directory) and "nan" not in everything(directory).lower().split()


def test_pairs_of_one_difference_are_not_tested(fabricate, edit):
    """Differences without any spread: the seeds took no effect."""
    directory = fabricate(effects={"dot_product": 0.0, "symmetric": 0.1}, seeds=(1, 2, 3))
    for file in directory.glob("runs/*/*/run.json"):
        loss = 1.9 if "symmetric" in str(file) else 1.8
        edit(file, lambda record, loss=loss: record["results"].update(final_loss=loss))
    found = write_report(directory)
    (loss,) = (c for c in found["comparisons"] if c["metric"] == "final_loss")
    assert loss["verdict"] == "not tested" and "undecided" not in found["headline"]
    assert "symmetric cannot be judged after" in everything(directory)


def test_one_arm_alone_has_no_verdict(fabricate):
    directory = fabricate(effects={"dot_product": 0.0}, seeds=(1, 2), tasks=TASKS)
    found = write_report(directory)
    assert found["comparisons"] == [] and "Nothing is compared." in found["headline"]
    assert not judged(directory)


def test_a_sweep_without_results_has_no_best_rate(fabricate):
    directory = fabricate(
        effects={"dot_product": 0.0, "symmetric": 0.1}, seeds=(1, 2), learning_rates=(1e-3, 2e-3, 4e-3)
    )
    gone(directory, "symmetric", status="failed")
    found = write_report(directory)
    assert not any(rate["chosen"] for rate in found["sweep"]["symmetric"])
    assert "result) best" not in everything(directory) and "edge of the sweep for symmetric" not in everything(
        directory
    )
