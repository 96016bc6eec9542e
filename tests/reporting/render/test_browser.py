"""Pages in headless Chromium: nothing is wider than the screen or the sheet, unless a box scrolls it."""

import json
import re
import shutil
import subprocess

import numpy as np
import pytest

from leanformer.reporting.render import attention_page
from leanformer.reporting.render.document import Code, Document, Paragraph, Points, Section, Table
from leanformer.reporting.render.html import html
from leanformer.reporting.write import write_report

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: install it to test the pages")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-component-update"
)
SHEET = 703
"""Pixels between the margins of A4."""
MEASURE = """<script>
const scrolls = (e) => e && (["auto", "scroll"].includes(getComputedStyle(e).overflowX) || scrolls(e.parentElement));
const wide = [], width = document.documentElement.clientWidth;
for (const e of document.body.querySelectorAll("*")) {
  const box = e.getBoundingClientRect();
  if (!box.width || e.closest("svg svg, svg *") || getComputedStyle(e).visibility === "hidden") continue;
  const inside = scrolls(e.parentElement) || (scrolls(e) && box.right <= width + 1);
  if (box.right > width + 1 && !inside) wide.push([e.tagName, e.className, Math.round(box.right)]);
}
const cut = [...document.querySelectorAll(".table")].map((e) => e.scrollWidth - e.clientWidth);
const broken = [...document.querySelectorAll(".number")].filter((e) => /^[+\\u2212\\d.,]+$/.test(e.textContent.trim()))
  .filter((e) => e.getClientRects().length && e.firstChild).map((e) => { const r = document.createRange();
    r.selectNodeContents(e); return new Set([...r.getClientRects()].map((b) => b.top)).size; });
const prose = [...document.querySelectorAll("p")].map((e) => e.getBoundingClientRect().width);
const found = {width, wide, prose: Math.max(0, ...prose), cut: Math.max(0, ...cut), lines: Math.max(0, ...broken)};
document.documentElement.innerHTML = "<body>@" + JSON.stringify(found).replace(/</g, "\\u003c") + "@</body>";
</script>"""


def measured(page, width, tmp_path, *, printed=False):
    """In a window of this width: its inner width, what sticks out of it, how much of a table is hidden."""
    if printed:
        page = page.replace("@media print", "@media all").replace("@media screen", "@media speech")
    file = tmp_path / "page.html"
    file.write_text(page.replace("</body>", f"{MEASURE}</body>"), encoding="utf-8")
    # A window is 500 pixels wide at least: the page is measured in a frame.
    frame = f'<iframe src="page.html" style="border:0;width:{width}px;height:2000px"></iframe>'
    outer = tmp_path / "outer.html"
    copy = "addEventListener('load', () => {document.body.textContent = frames[0].document.body.textContent})"
    outer.write_text(f"<!doctype html><body>{frame}<script>{copy}</script></body>", encoding="utf-8")
    profile = tmp_path / "profile"
    command = [CHROMIUM, *FLAGS.split(), "--allow-file-access-from-files", f"--user-data-dir={profile}"]
    command += [f"--window-size={max(width, 500) + 50},2000", "--dump-dom", outer.as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120).stdout
    return json.loads(re.search(r"@(.*)@", dom)[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    from tests.reporting.conftest import Fabrication

    found = {}
    tasks = {"sst2": 0.8, "cola": 0.12}
    comparison = Fabrication(tasks=tasks, seeds=(1, 2, 3), settings={"objective": "causal_lm"})
    arms = {"dot_product": 0.0, "pairwise[coefficients_init=scaled_normal,projection=shared_all,x=yyyyyyyyyyyyy]": 0.1}
    arms |= {f"dot_product[model.intermediate_size={32 * i}]": 0.01 * i for i in range(1, 9)}
    many = Fabrication(effects=arms, tasks=tasks, seeds=(1, 2), learning_rates=(1e-3, 2e-3))
    for name, fabrication in (("comparison", comparison), ("many", many)):
        directory = fabrication.write(tmp_path_factory.mktemp(name))
        write_report(directory)
        found[name] = (directory / "report.html").read_text(encoding="utf-8")
    weights = np.full((12, 12, 40, 40), 1 / 40)
    facts = [{fact: [0.5] * 12 for fact in attention_page.FACTS}] * 12
    panels = [attention_page.Panel(f"run {i}", "x" * 90, ["token"] * 40, weights, facts) for i in range(2)]
    found["attention"] = attention_page.page("a word " * 30, panels)
    found["other"] = html(_document())
    return found


def _document():
    """The shapes of the tables of robustness, of a rebuilt paper and of linked mentions, with the longest cells."""
    interval = "+12.3 [\N{MINUS SIGN}10.1, +34.7]"
    robust = ["training examples", "pairwise", "80.1 ± 12.3", "10.1 ± 12.3", interval, interval, "< 0.001"]
    differences = ["training examples", "100,000", "symmetric", interval, "< 0.001", interval, "< 0.001"]
    rebuilt = ["BERT-base " * 3, "shared against symmetric", "80.1 ± 1.2 against 79.1 ± 1.1: " + interval, interval]
    linked = ["rescnn:models/some-long-name-of-a-model", "109,514,298", "85,123,123", "1.37 GB", "12.3 k", "1.00 M"]
    verdict = "equivalent (though measurably better), exploratory"
    tables = [
        Table([*"abcdefg", "Verdict"], [[*robust, verdict]] * 3, "llrrrrrl", "Caption " * 30),
        Table([*"abcdefg", "Verdict"], [[*differences, verdict]] * 3, "lrlrrrrl"),
        Table([*"abcd", "Verdict"], [[*rebuilt, "not testable at this scale: " + "it is too small " * 5]], "wwwww"),
        Table([*"abcdef", "Steps", "Training, s"], [[*linked, "100,000", "12,345"]], "lrrrrrrr"),
        Table(
            ["Task", *(f"dot_product[model.width={i}]" for i in range(14))],
            [["t", *["80.1 ± 1.2 (9)"] * 14]],
            "l" + "r" * 14,
        ),
    ]
    path = "/a/" + "very-long-name-of-a-folder/" * 8
    blocks = [*tables, Points([path]), Code(f"leanformer compare {path} " * 3), Paragraph(path)]
    return Document(
        path, path, [("Machine", path)], [Section("Results", blocks), Section("All", tables, folded=True)], {}
    )


@pytest.mark.parametrize("name", ["comparison", "many", "attention", "other"])
@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_wider_than_the_screen(pages, name, width, tmp_path):
    found = measured(pages[name], width, tmp_path)
    assert found["width"] in (width, width - 15) and found["wide"] == [] and found["lines"] <= 1


@pytest.mark.parametrize("name", ["comparison", "other"])
def test_at_1280_pixels_usual_tables_are_whole(pages, name, tmp_path):
    page = pages[name] if name == "comparison" else re.sub(r"<tr><th[^>]*>t</th>.*?</tr>", "", pages[name])
    page = re.sub(r'<div class="table many".*?</div>', "", page, flags=re.DOTALL)
    assert measured(page, 1280, tmp_path)["cut"] <= 1


@pytest.mark.parametrize("name", ["comparison", "many", "attention", "other"])
def test_nothing_is_cut_on_paper(pages, name, tmp_path):
    found = measured(pages[name], SHEET, tmp_path, printed=True)
    assert found["width"] == SHEET or found["width"] == SHEET - 15
    assert found["wide"] == [] and found["cut"] <= 1 and found["lines"] <= 1
    assert found["prose"] > 0.9 * SHEET or name == "attention", "text on paper is as wide as the sheet"
