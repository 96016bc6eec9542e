"""`python -m experiments NAME`: one command line for all experiments."""

import runpy
from pathlib import Path

import pytest

from experiments.__main__ import NAMES, run


@pytest.mark.parametrize("name", NAMES)
def test_every_experiment_has_its_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="^0$"):
        run([name, "--help"])
    assert f"usage: python -m experiments {name} " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sise"], "error: experiment sise: did you mean 'size'?"),
        (["conversion", "--out", "OUT", "--report"], "results.json is missing: run the protocol first"),
        (["related-methods", "--out", "OUT"], "error: --data and --task-data are needed"),
    ],
)
def test_errors_are_one_line_and_status_2(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="^2$"):
        run([str(tmp_path) if word == "OUT" else word for word in arguments])
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and line.endswith(message)


def test_conversion_goes_on_by_its_earlier_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["experiments.conversion", "--help"])
    with pytest.raises(SystemExit, match="^0$"):
        runpy.run_module("experiments.conversion", run_name="__main__")
    assert capsys.readouterr().out.startswith("usage: python -m experiments conversion ")
