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


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.ipynb")), ids=lambda path: path.stem)
def test_notebooks(path, tmp_path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    names: dict = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            assert not cell["outputs"], "clear the outputs: they are of one machine"
            exec(compile("".join(cell["source"]), path.name, "exec"), names)
    comparison = tmp_path / "runs/notebook/comparison"
    assert '<a href="attention.html">' in (comparison / "report.html").read_text(encoding="utf-8")
    assert "[Every head of a run of each mechanism, on one sentence](attention.html)" in (
        comparison / "report.md"
    ).read_text(encoding="utf-8")
    page = (comparison / "attention.html").read_text(encoding="utf-8")
    assert page.count('<section class="panel"') == 2 and "<h1>The young king" in page
    (comparison / "attention.html").unlink()
    comparison_page(comparison, None, None)
    sentence = unescape(re.search("<h1>(.*?)</h1>", (comparison / "attention.html").read_text("utf-8"))[1])
    text = " ".join(" ".join(documents("shipped:novels")).split())
    assert len(sentence) > 10 and f" {sentence} " in text  # whole words of a held-out document
