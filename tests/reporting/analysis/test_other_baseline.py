"""A report against another baseline than the planned one: its numbers are right, and it says that it explores."""

import pytest

from leanformer.reporting.write import write_report


def differences(found):
    return {c["attention"]: c["mean_difference"] for c in found["comparisons"] if c["metric"] == "final_loss"}


def test_any_arm_may_be_the_baseline_and_then_nothing_confirms(fabricate):
    directory = fabricate(seeds=(1, 2, 3), tasks={"rte": 0.6})
    planned = differences(write_report(directory))
    found = write_report(directory, baseline="shared")
    other = differences(found)
    assert other["dot_product"] == pytest.approx(-planned["shared"])
    assert other["pairwise"] == pytest.approx(planned["pairwise"] - planned["shared"])
    assert (found["baseline"], found["planned_baseline"]) == ("shared", "dot_product")
    assert all(c["exploratory"] for c in found["comparisons"])
    assert set(found["families"]) >= {"final_loss_exploratory"} and "final_loss" not in found["families"]
    said = "All arms are compared with shared here, whereas dot_product is the baseline that was planned: every"
    assert sum(said in caveat for caveat in found["caveats"]) == 1
    page = (directory / "report.md").read_text()
    assert page.index("whereas dot") < page.index("## Loss over training")
    assert found["detectable_difference"] > 0


def test_the_planned_baseline_is_no_exploration(fabricate):
    found = write_report(fabricate(seeds=(1, 2)), baseline="dot_product")
    assert not any(c["exploratory"] for c in found["comparisons"])


def test_a_baseline_that_is_no_arm_is_refused(fabricate):
    with pytest.raises(ValueError, match="--baseline sharde: no such arm; did you mean 'shared'"):
        write_report(fabricate(seeds=(1,)), baseline="sharde")


def test_the_command_takes_the_baseline_by_its_alias(fabricate, command):
    directory = fabricate(seeds=(1, 2))
    assert command("report", directory, "--alias", "all=shared", "--baseline", "all", "--quiet")[0] == 0
    assert "3 mechanisms" not in (directory / "report.md").read_text().splitlines()[0]
    assert (directory / "report.md").read_text().splitlines()[0].endswith("against all")
