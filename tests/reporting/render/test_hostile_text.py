"""Labels, names of tasks, paths and settings that hold markup, formulas or characters nobody sees."""

import csv
import io
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from markdown_it import MarkdownIt

from leanformer import markup
from leanformer.reporting.write import write_report

HOSTILE = [
    "```\n# no heading\n```",
    "a|b\\|c",
    "<script>alert(1)</script>",
    "line\nbreak\r\n\r\nbreak",
    "\u202etxet\u2066",
    "\x00\x1b[31m\x7f",
    '=cmd|" /C calc"!A0',
    "&lt;b&gt; [x](javascript:y) ![i](z) $e$ ~~s~~ *b* __c__",
    "- item",
    "\ud800 half",
]


class Page(HTMLParser):
    """Element names and visible text; every element is closed."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.text = [], set(), []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        assert not any(name.startswith("on") for name, _ in attrs)
        if tag not in ("meta", "wbr", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def parsed(text):
    return MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).parse(text)


def shown(tokens):
    """What a reader of Markdown sees; fails on what only markup makes."""
    out = []
    for token in tokens:
        for part in token.children or [token]:
            assert part.type not in ("html_inline", "html_block", "code_inline", "link_open", "s_open", "em_open"), part
            assert part.type != "image" or part.attrs["src"].startswith("figures/")
            out.append("\n" if part.type == "softbreak" else part.content)
    return "".join(out)


@pytest.mark.parametrize("text", HOSTILE)
def test_markdown_shows_the_text_itself(text):
    seen = " ".join(markup.visible(text).split())
    for before, after in (("", ""), ("- ", ""), ("## ", ""), ("| a |\n|---|\n| ", " |")):
        tokens = parsed(f"{before}{markup.markdown(text)}{after}")
        found = [t for t in tokens if t.type == "inline"]
        assert shown(found[-1:]) == seen and len(found) == (2 if "|" in before else 1)
    span = parsed(markup.code(text))[1].children
    assert [part.type for part in span] == ["code_inline"] and span[0].content == markup.visible(text)
    (block,) = parsed(markup.fence(text))
    assert block.type == "fence" and block.content.split() == markup.visible(text).split()
    cells = [t.children for t in parsed(f"| a |\n|---|\n| {markup.cell(markup.code(text))} |\n") if t.type == "inline"]
    assert [part.type for part in cells[1]] == ["code_inline"]


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_is_hidden_and_everything_can_be_written(text):
    for safe in (markup.visible(text), markup.markdown(text), markup.fence(text), markup.html(text)):
        assert safe.encode() and not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", safe)


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        ("=1+1", "'=1+1"),
        ("+cmd", "'+cmd"),
        ("-dash", "'-dash"),
        ("@SUM(A1)", "'@SUM(A1)"),
        (" =1", "' =1"),
        ("\t=1", "'\t=1"),
        ("\rtext", "'\rtext"),
        ("\N{FULLWIDTH EQUALS SIGN}1", "'\N{FULLWIDTH EQUALS SIGN}1"),
        ("plain = text", "plain = text"),
        ("", ""),
        (-0.5, -0.5),
        (None, None),
        (True, True),
    ],
)
def test_a_spreadsheet_runs_no_text(cell, written):
    assert markup.spreadsheet(cell) == written and type(markup.spreadsheet(cell)) is type(cell)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """A report in which labels, a task, the path of the data, the command and a setting are all of `HOSTILE`."""
    from tests.reporting.conftest import Fabrication, change

    directory = tmp_path_factory.mktemp("hostile")
    Fabrication(effects={"dot_product": 0.0, "other": 0.1}, seeds=(1, 2), tasks={"task": 0.5}).write(directory)
    names = {f"arm-{i}": text for i, text in enumerate(HOSTILE)}

    def plan(record):
        record["runs"] = [
            {**run, "attention": name if run["attention"] == "other" else run["attention"]}
            for name in names.values()
            for run in record["runs"]
            if run["attention"] == "other" or name == HOSTILE[0]
        ]
        record["attention"] = ["dot_product", *names.values()]
        record["controls"] = {name: name for name in names.values()}
        record["command"] = "\n".join(HOSTILE)
        record["data"]["path"] = "".join(HOSTILE)
        record["settings"]["model"]["attention"] = HOSTILE[2]

    change(directory / "comparison.json", plan)
    for file in directory.glob("runs/*/*/tasks/*/*/run.json"):
        change(file, lambda record: record.update(task=HOSTILE[0] + HOSTILE[2] + HOSTILE[5]))
    for file in directory.glob("runs/*/*/run.json"):
        change(file, lambda record: record["versions"].update({HOSTILE[1]: HOSTILE[0]}))
    write_report(directory, ["csv", "latex"])
    return directory


def test_a_hostile_page_has_no_element_of_its_own(hostile):
    page = Page((hostile / "report.html").read_text(encoding="utf-8"))
    assert not page.tags & {"script", "img", "a", "iframe"}
    text = "".join(page.text)
    assert all(markup.visible(name) in " ".join(text.split("\n")) for name in HOSTILE if "\n" not in name)
    for file in hostile.glob("figures/*.svg"):
        ElementTree.fromstring(file.read_text(encoding="utf-8"))


def test_hostile_markdown_keeps_its_tables_headings_and_fence(hostile):
    tokens = parsed((hostile / "report.md").read_text(encoding="utf-8"))
    shown(tokens)
    headings = [tokens[i + 1].content for i, token in enumerate(tokens) if token.type == "heading_open"]
    assert "no heading" not in "".join(headings[1:]).replace("against", "") and "To repeat it" in headings
    (fence,) = [token for token in tokens if token.type == "fence"]
    assert "# no heading\n" in fence.content and "<script>alert(1)</script>\n" in fence.content
    widths, width = [], 0
    for token in tokens:
        width = 0 if token.type == "tr_open" else width + (token.type in ("td_open", "th_open"))
        widths += [width] if token.type == "tr_close" else []
    rows = [line for line in (hostile / "report.md").read_text().splitlines() if line.startswith("| ")]
    assert len(widths) == len(rows)


def test_no_cell_of_hostile_tables_is_a_formula(hostile):
    files = list((hostile / "tables").glob("*.csv"))
    assert files
    for file in files:
        for row in csv.reader(io.StringIO(file.read_text(encoding="utf-8"))):
            for cell in row:
                assert cell.lstrip()[:1] not in ("=", "+", "@") and (cell[:1] != "-" or float(cell) < 0), cell
