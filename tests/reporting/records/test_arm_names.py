"""Aliases of arms: those of the comparison, and those that a report gives alone."""

import json

import pytest

from leanformer.records.reading import sealed
from leanformer.reporting.records.arm_names import check_aliases, read_aliases
from leanformer.reporting.write import write_report

LONG = "dot_product[model.intermediate_size=640,projection=shared_all]"
ARMS = {"dot_product": 0.0, LONG: 0.05}


def text_of(directory):
    files = [*directory.glob("report.*"), *directory.glob("tables/*"), *directory.glob("figures/*.svg")]
    return {file.name: file.read_text(encoding="utf-8").replace("\\", "").replace("<wbr>", "") for file in files}


def test_an_alias_is_the_arms_name_in_text_tables_and_figures(fabricate, edit):
    directory = fabricate(effects={"dot_product": 0.0, "small": 0.05}, seeds=(1, 2, 3))
    edit(directory / "comparison.json", lambda plan: plan.update(aliases={"small": LONG}))
    found = write_report(directory, ["latex", "csv"])
    assert found["aliases"] == {"small": LONG}
    texts = text_of(directory)
    assert all("small" in texts[name] for name in ("report.md", "the-answer.tex", "runs.csv", "differences.svg"))
    assert texts["report.md"].count(LONG) == 1, "the definition is listed once"
    assert f'small,"{LONG}"' in texts["arms.csv"] and LONG not in texts["curves.svg"]


def test_a_report_may_name_arms_and_leaves_the_records_alone(fabricate, edit):
    directory = fabricate(effects=ARMS, seeds=(1, 2, 3))
    edit(directory / "comparison.json", lambda plan: plan.update(main=[LONG], controls={LONG: "size"}))
    before = (directory / "comparison.json").read_bytes()
    plan = {"schema": 1, "time": "2026-11-30T06:00:12+00:00", "attention": ["dot_product"], "baseline": "dot_product"}
    plan |= {"main": None, "margin": 0.03, "task_margin": 0.01, "family": "all", "seeds": [1, 2, 3], "tasks": []}
    later = {"time": "2026-12-01T06:00:12+00:00", "attention": [LONG]}
    (directory / "plan.json").write_text(json.dumps(sealed(plan | {"amendments": [later]})))
    found = write_report(directory, aliases=read_aliases([f"small = {LONG}"]))
    assert found["attention"] == ["dot_product", "small"]
    assert {c["attention"] for c in found["comparisons"]} == {"small"}
    page = text_of(directory)["report.md"]
    assert page.partition("## Every run")[0].count(LONG) == 1, "folders keep their names"
    assert "- small: size" in page and "Added later, not in the plan: small." in page
    assert not found["comparisons"][0]["exploratory"]
    assert (directory / "comparison.json").read_bytes() == before


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["small"], "--alias small: write ALIAS=ARM"),
        (["=dot_product"], "--alias =dot_product: write ALIAS=ARM"),
        (["a=dot_product", "a=shared"], "--alias a=shared: a stands in another alias already"),
        (["a=dot_product", "b=dot_product"], "--alias b=dot_product: dot_product stands in another alias already"),
        (["a=sharde"], "--alias a=sharde: no such arm; did you mean 'shared'?"),
        (["shared=dot_product"], "--alias shared=dot_product: another arm has this name; give another alias"),
    ],
)
def test_mistakes_are_refused(texts, message):
    with pytest.raises(ValueError) as error:
        check_aliases(read_aliases(texts), ["dot_product", "shared"])
    assert str(error.value) == message


def test_names_may_be_exchanged():
    check_aliases(read_aliases(["shared=dot_product", "dot_product=shared"]), ["dot_product", "shared"])


def test_a_single_run_has_nothing_to_name(fabricate_run):
    with pytest.raises(ValueError, match="holds one run, not a comparison: leave out --baseline and --alias"):
        write_report(fabricate_run("pairwise"), aliases={"pairwise": "p"})
