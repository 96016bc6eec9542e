"""The examples run, with a few steps instead of a minute's."""

import json
import re
import runpy
import sys
from html import unescape
from pathlib import Path

import pytest

from leanformer.data.readers import documents
from leanformer.evaluation.probes.attention_page import comparison_page
from leanformer.settings import read_settings
from leanformer.training.pretrain import pretrain

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture(autouse=True)
def few_steps(monkeypatch, tmp_path):
    monkeypatch.setenv("LEANFORMER_EXAMPLE_STEPS", "4")
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def run(data, tiny, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "pairwise"
    pretrain(read_settings(None, [*tiny[1::2], "model.attention=pairwise"]), data, out, quiet=True)
    return out


def script(monkeypatch, name, *arguments):
    monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
    runpy.run_path(str(EXAMPLES / name))


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")  # PEFT asks for the old name
def test_lora(run, tmp_path, monkeypatch, capsys, command):
    pytest.importorskip("peft")
    script(monkeypatch, "lora.py", run / "model", tmp_path / "merged")
    assert "adapts token, value" in capsys.readouterr().out
    (tmp_path / "lines.txt").write_text("a lovely dinner\n")
    status, out, _ = command("predict", tmp_path / "merged", tmp_path / "lines.txt")
    assert status == 0 and json.loads(out)["label"] in ("good", "bad")


def test_search_finds_the_line_itself_first(run, tmp_path, monkeypatch, capsys):
    lines = ["the king came home", "a letter for her sister", "it rained all day"]
    (tmp_path / "lines.txt").write_text("\n".join(lines) + "\n")
    script(monkeypatch, "search.py", run, tmp_path / "lines.txt", lines[1])
    first, *_ = capsys.readouterr().out.splitlines()
    assert first == f"+1.000  {lines[1]}"


def cells_of(path):
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.ipynb")), ids=lambda path: path.stem)
def test_notebooks_are_twelve_cells_without_outputs(path):
    """Outputs are of one machine, so none are kept."""
    cells = cells_of(path)
    assert len(cells) == 12
    assert not any(cell["outputs"] or cell["execution_count"] for cell in cells if cell["cell_type"] == "code")


def test_the_notebook_goes_from_an_idea_to_a_verdict(tmp_path, own_registry):
    """Every cell runs as Jupyter runs it; `%%writefile` is the only magic, and the last line of a cell is its value."""
    names: dict = {}
    for cell in cells_of(EXAMPLES / "idea_to_verdict.ipynb"):
        source = "".join(cell["source"])
        if cell["cell_type"] != "code":
            continue
        if written := re.match(r"%%writefile (\S+)\n", source):
            (tmp_path / written[1]).write_text(source[written.end() :], encoding="utf-8")
        else:
            exec(compile(source, "cell", "exec"), names)
    comparison = names["comparison"]
    assert list(comparison.verdicts["attention"]) == ["symmetric", "diagonal"]
    assert set(comparison.runs["status"]) == {"finished"} and len(comparison.runs) == 9
    records = [json.loads((comparison.path / path / "run.json").read_text()) for path in comparison.runs["path"]]
    assert {record["plugin"]["path"] for record in records} == {str((tmp_path / "runs/notebook/diagonal.py").resolve())}
    check_attention_page(comparison.path)


def check_attention_page(comparison):
    """The report links to the page, whose sentence is by default one of the held-out text."""
    comparison_page(comparison, "The young king asked his brother to come.", None)
    assert '<a href="attention.html">' in (comparison / "report.html").read_text(encoding="utf-8")
    assert "[Every head of a run of each mechanism, on one sentence](attention.html)" in (
        comparison / "report.md"
    ).read_text(encoding="utf-8")
    page = (comparison / "attention.html").read_text(encoding="utf-8")
    assert page.count('<section class="panel"') == 3 and "<h1>The young king" in page
    (comparison / "attention.html").unlink()
    comparison_page(comparison, None, None)
    sentence = unescape(re.search("<h1>(.*?)</h1>", (comparison / "attention.html").read_text("utf-8"))[1])
    text = " ".join(" ".join(documents("shipped:novels")).split())
    assert len(sentence) > 10 and f" {sentence} " in text  # whole words of a held-out document
