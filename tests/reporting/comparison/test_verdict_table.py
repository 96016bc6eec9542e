"""The first table: in the order of the results, with the numbers of the findings and a picture of each interval."""

import re
from xml.etree import ElementTree

import pytest

from leanformer.reporting.analysis.comparison import find
from leanformer.reporting.comparison.contents import contents
from leanformer.reporting.comparison.verdict_table import verdicts
from leanformer.reporting.records.study import read_study
from leanformer.reporting.render.html import html

ARMS = {"symmetric": 0.1, "dot_product": 0.0, "pairwise": -0.1, "random": 1.3, "shared": 0.2}


@pytest.fixture
def findings(fabricate):
    return find(read_study(fabricate(effects=ARMS, noise=0.002, seeds=(1, 2, 3))))


def test_the_best_is_first_and_what_says_nothing_is_last(findings):
    rows = verdicts(findings).rows
    assert [row[0] for row in rows] == ["pairwise", "dot_product", "symmetric", "shared", "random"]
    assert [row[-1] for row in rows] == ["better", "baseline", "worse", "worse", "not testable"]


def test_the_costs_are_those_of_the_baseline_and_the_arm(findings):
    """856,320 against 1,053,184 parameters are 18.7 % fewer; FLOPs here are six times the parameters."""
    row = next(row for row in verdicts(findings).rows if row[0] == "shared")
    assert row[2:4] == ["\N{MINUS SIGN}18.7 %"] * 2


def test_every_row_draws_the_interval_of_its_cell(findings):
    table = verdicts(findings)
    by_name = {c.attention: c for c in findings.comparisons}
    for row, drawn in zip(table.rows, table.plot.intervals, strict=True):
        if row[0] == "random":
            assert drawn is None
        elif row[0] != "dot_product":
            difference = by_name[row[0]].difference
            assert (drawn.mean, drawn.ends) == (difference.mean, difference.ci95)
            assert drawn.said == f"{row[0]}: {row[1]} nats, {row[-1]}"


def test_the_page_has_one_plot_per_row_with_its_text(findings):
    page = html(contents(findings))
    plots = re.findall(r'<svg class="interval (\w+)"[^>]*?(aria-[a-z]+)="([^"]*)".*?</svg>', page)
    assert [name for name, *_ in plots] == ["axis", "better", "baseline", "worse", "worse", "none"]
    assert plots[1][2].startswith("pairwise: \N{MINUS SIGN}0.") and plots[-1][1:] == ("aria-hidden", "true")
    for drawn in re.findall(r'<svg class="interval.*?</svg>', page):
        ElementTree.fromstring(drawn)


def test_the_answer_and_one_picture_stand_before_all_else(findings):
    sections = contents(findings).sections
    assert [section.title for section in sections[:2]] == ["The answer", "Loss over training"]
    assert [section.title for section in sections if section.folded] == [
        "In words",
        "Every run",
        "Every setting, version and hash",
    ]
