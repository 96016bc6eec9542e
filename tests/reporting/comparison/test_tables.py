"""The report's tables as LaTeX: the cells of the page, and nothing in them is markup."""

import re

import pytest

from leanformer.reporting.render.document import Table
from leanformer.reporting.render.latex import SPECIAL, latex
from leanformer.reporting.write import write_report


@pytest.fixture(scope="module")
def reported(whole):
    write_report(whole, ["latex"])
    return whole


def markdown_tables(directory):
    """Rows of cells, read back from report.md."""
    blocks = re.findall(r"(?:^\|.*\n)+", (directory / "report.md").read_text(), re.MULTILINE)
    tables = [[re.split(r" (?<!\\)\| ", line[2:-2]) for line in block.splitlines()] for block in blocks]
    return [[[re.sub(r"\\(.)", r"\1", cell) for cell in row] for row in (table[0], *table[2:])] for table in tables]


def plain(text):
    """LaTeX back to what it prints."""
    for letter, markup in sorted(SPECIAL.items(), key=lambda item: -len(item[1])):
        if letter != "\\":
            text = text.replace(markup, letter)
    return text.replace(r"\textbackslash{}", "\\").replace("{[}", "[")


def test_latex_has_the_cells_of_the_report(reported):
    expected = {tuple(map(tuple, table)) for table in markdown_tables(reported)}
    found = set()
    files = list((reported / "tables").glob("*.tex"))
    assert len(files) == len(expected) > 4
    for file in files:
        body = file.read_text().partition("\\toprule\n")[2].partition("\\bottomrule")[0].replace("\\midrule\n", "")
        lines = body.splitlines()
        assert all(line.endswith(r" \\") for line in lines)
        rows = [[plain(cell) for cell in re.split(r" (?<!\\)& ", line[:-3])] for line in lines]
        found.add(tuple(tuple(" ".join(cell.split()) for cell in row) for row in rows))
    assert found == {tuple(tuple(" ".join(c.split()) for c in row) for row in table) for table in expected}


def test_latex_is_balanced_and_plain(reported):
    for file in (reported / "tables").glob("*.tex"):
        text = file.read_text()
        assert text.count("\\begin{") == text.count("\\end{") == 2
        assert text.index("\\caption{") < text.index(f"\\label{{tab:{file.stem}}}")
        assert text.isascii(), set(re.findall(r"[^\x00-\x7f]", text))


def test_what_latex_takes_for_markup_is_escaped():
    table = Table(["a_b", "50 %"], [["x & y", "$5 #1 {z}"], [r"c:\d~^", "[pairwise] <|>"]], "lr", "100 % of a_b")
    rows = latex(table, "costs").splitlines()
    assert r"\begin{tabular}{lr}" in rows and r"\caption{100 \% of a\_b}" in rows
    assert r"a\_b & 50 \% \\" in rows
    assert r"x \& y & \$5 \#1 \{z\} \\" in rows
    ends = r"{[}pairwise] \textless{}\textbar{}\textgreater{} \\"
    assert r"c:\textbackslash{}d\textasciitilde{}\textasciicircum{} & " + ends in rows


def test_the_command_takes_formats(whole, command):
    assert command("report", whole, "--format", "csv", "--quiet")[0] == 0
    status, _, err = command("report", whole, "--format", "latx")
    assert status == 2 and err == "leanformer: --format latx: did you mean 'latex'?\n"
