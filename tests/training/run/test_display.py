import pytest

from leanformer.training.optimizers.schedule import Budget
from leanformer.training.run.checkpoint import Progress
from leanformer.training.run.display import Display

LINE = {"step": 30, "seconds": 14.0, "loss": 2.5}


def test_no_terminal_gets_a_plain_line_when_something_is_validated(capsys: pytest.CaptureFixture[str]) -> None:
    with Display("run", Budget(100), lambda steps: 50 * steps, Progress(step=10, seconds=10.0), quiet=False) as display:
        display.log(LINE)
        display.step(30, 14.0)
        display.log(LINE | {"validation_loss": 2.25})
    out = capsys.readouterr().out
    assert out == "step 30  loss 2.5000  validation 2.2500  250 tokens/s  0:00:14 left\n"


def test_quiet_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with Display("run", Budget(100), lambda steps: 50 * steps, Progress(), quiet=True) as display:
        display.log(LINE | {"validation_loss": 2.25})
        display.step(30, 14.0)
    assert capsys.readouterr() == ("", "")


def test_a_terminal_gets_a_live_bar(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    with Display("run", Budget(100), lambda steps: 50 * steps, Progress(step=10, seconds=10.0), quiet=False) as display:
        display.log(LINE | {"validation_loss": 2.25})
        display.step(30, 14.0)
    out = capsys.readouterr().out
    assert "loss 2.5000" in out and "250 tokens/s" in out and "0:00:14 left" in out
