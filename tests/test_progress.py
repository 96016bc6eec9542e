"""Bars on a terminal, in a pipe, and as one output of a notebook's cell."""

import sys
from types import SimpleNamespace

import pytest
from rich.progress import BarColumn, Progress, TextColumn

from leanformer import progress


@pytest.fixture
def outputs(monkeypatch):
    """The outputs of a cell: every one is the list of its states."""
    shown = []

    def display(bundle, *, raw, display_id):
        assert raw and display_id
        shown.append([bundle["text/plain"]])
        return SimpleNamespace(update=lambda bundle, raw: shown[-1].append(bundle["text/plain"]))

    shell = SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display=display))
    return shown


def run(quiet=False):
    console = progress.console(stderr=True)
    with progress.bars(TextColumn("{task.description}"), BarColumn(10), on=console, quiet=quiet) as bar:
        first = bar.add_task("reading", total=4)
        for _ in range(4):
            bar.advance(first)
        bar.update(bar.add_task("counting", total=2), completed=1)
    return bar


def test_a_notebook_has_one_output_that_is_replaced(outputs, capsys, monkeypatch):
    monkeypatch.setattr(progress, "EVERY", 0.0)
    assert isinstance(run(), progress.NotebookBars)
    (states,) = outputs
    assert len(states) > 4
    assert [line.split() for line in states[-1].splitlines()] == [
        ["reading", "\u2501" * 10],
        ["counting", "\u2501" * 5],
    ]
    assert not any(letter in state for state in states for letter in "\r\x1b")
    assert capsys.readouterr() == ("", "")


def test_a_notebook_is_not_flooded(outputs):
    run()
    assert len(outputs[0]) < 5


def test_nothing_is_shown_if_quiet(outputs):
    run(quiet=True)
    assert outputs == []


def test_elsewhere_the_bars_are_those_of_rich(monkeypatch):
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: SimpleNamespace()))
    assert progress.notebook() is None  # IPython on a terminal has no kernel
    assert type(run()) is Progress


def test_lines_are_printed_as_they_are(outputs, capsys):
    progress.console().print("[1/2] a line of 3.5 nats " + "x" * 200)
    assert capsys.readouterr().out == "[1/2] a line of 3.5 nats " + "x" * 200 + "\n"
