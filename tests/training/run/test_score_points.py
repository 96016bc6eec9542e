"""Scores during training: they are those of a run that ended there, and the training does not notice them."""

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from torch.testing import assert_close

from leanformer.settings import TrainingSettings, parse_override, settings_from
from leanformer.training.loop import Loop
from leanformer.training.pretrain import pretrain
from leanformer.training.run import score_points
from leanformer.training.run.record import RunDirectory

Tables = Callable[..., dict[str, Any]]
STEP = 22 * 13
"""Tokens."""
ASKED = [3 * STEP + 1, 9 * STEP, 9 * STEP + 1, 20 * STEP]
PLAN = {
    "schedule": "constant",
    "warmup": 0.0,
    "max_steps": 20,
    "validate_every": 5,
    "score_at": ASKED,
    "keep_checkpoints": 9,
}


def train(corpus: Path, out: Path, settings: Tables, **training: Any) -> Path:
    pretrain(settings_from(settings(**PLAN | training)), corpus, out, quiet=True)
    return out


def points(run: Path) -> list[dict[str, Any]]:
    return json.loads((run / "run.json").read_text())["scores_at"]


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory, corpus: Path, settings: Tables) -> Path:
    return train(corpus, tmp_path_factory.mktemp("scored") / "run", settings)


def test_the_first_step_that_reaches_a_number_is_scored(scored: Path) -> None:
    steps = [4, 9, 10, 20]
    folders = ["scores/step-00000004", "scores/step-00000009", "scores/step-00000010", "scores"]
    found = [[point[key] for key in ("score_at", "step", "tokens", "folder")] for point in points(scored)]
    assert found == [list(row) for row in zip(ASKED, steps, [STEP * step for step in steps], folders, strict=True)]
    assert points(scored)[-1]["scores"] == json.loads((scored / "run.json").read_text())["results"]["scores"]
    assert all((scored / folder / "valid.npz").is_file() for folder in folders)


def test_only_steps_that_are_logged_or_scored_wait_for_the_device(
    corpus: Path, settings: Tables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fetching the losses waits for all work on a GPU. Steps 3, 6, ... and 20 log; 4 and 10 are scored, too."""
    fetched: list[int] = []
    fetch = Loop.fetch_losses

    def counted(loop: Loop) -> None:
        if loop.pending:  # else nothing is waited for
            fetched.append(loop.at.step)
        fetch(loop)

    monkeypatch.setattr(Loop, "fetch_losses", counted)
    training = {"log_every": 3, "validate_every": 100, "checkpoint_every": 0}
    train(corpus, tmp_path / "plain", settings, score_at=None, **training)
    assert sorted(set(fetched)) == [3, 6, 9, 12, 15, 18, 20]
    fetched.clear()
    train(corpus, tmp_path / "scored", settings, **training)
    assert sorted(set(fetched)) == [3, 4, 6, 9, 10, 12, 15, 18, 20]


def test_a_point_is_the_score_of_a_run_that_ended_there(
    scored: Path, corpus: Path, settings: Tables, tmp_path: Path
) -> None:
    ended = train(corpus, tmp_path / "run", settings, max_steps=9, score_at=None)
    assert points(scored)[1]["scores"] == json.loads((ended / "run.json").read_text())["results"]["scores"]


def test_the_training_does_not_notice(
    scored: Path, corpus: Path, settings: Tables, tmp_path: Path, curve: Callable[[Path], Any]
) -> None:
    plain = train(corpus, tmp_path / "run", settings, score_at=None)
    assert curve(plain) == curve(scored)
    ours, theirs = (load_file(run / "model/model.safetensors") for run in (scored, plain))
    assert_close(ours, theirs, rtol=0, atol=0)
    assert "scores_at" not in json.loads((plain / "run.json").read_text())


def test_killed_within_a_score_it_is_made_again(
    scored: Path, corpus: Path, settings: Tables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the second point the losses are written and the record is not: the run goes on from step 7."""

    class Killed(BaseException):
        pass

    def record(self: Any, step: int, *rest: Any) -> None:
        if self.due(step) == [ASKED[1]]:
            raise Killed
        original(self, step, *rest)

    original = score_points.ScorePoints.record
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(score_points.ScorePoints, "record", record)
        train(corpus, tmp_path / "run", settings)
    assert [point["step"] for point in points(tmp_path / "run")] == [4]
    assert (tmp_path / "run/scores/step-00000009").is_dir()
    pretrain(None, None, tmp_path / "run", resume=True, quiet=True)
    assert points(tmp_path / "run") == points(scored)


def test_killed_between_two_scores_the_rest_is_scored(
    scored: Path, fork_server: Any, settings: Tables, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    pid = fork_server.start(run, settings(**PLAN))
    fork_server.until((run / "scores/step-00000004").is_dir, pid)
    os.kill(pid, signal.SIGKILL)
    fork_server.wait(pid)
    assert fork_server.run(run, settings(**PLAN), resume=True) == 0
    assert points(run) == points(scored)


def test_what_lies_beyond_the_checkpoint_is_forgotten(
    scored: Path, interrupted: Callable[[Path, Path], Path], tmp_path: Path
) -> None:
    run = interrupted(scored, tmp_path / "run")
    for step in (14, 19):
        shutil.rmtree(run / f"checkpoint/step-{step:08d}")
    pretrain(None, None, run, resume=True, quiet=True)
    assert points(run) == points(scored)


def test_an_extended_run_keeps_the_points_up_to_its_fork(
    scored: Path, corpus: Path, settings: Tables, tmp_path: Path
) -> None:
    run = shutil.copytree(scored, tmp_path / "run")
    pretrain(None, None, run, extend=22, quiet=True)
    longer = train(corpus, tmp_path / "longer", settings, max_steps=22)
    assert points(run) == points(longer) and points(run)[-1]["folder"] == "scores/step-00000020"


def test_a_budget_in_seconds_reaches_what_it_reaches(corpus: Path, settings: Tables, tmp_path: Path) -> None:
    run = train(corpus, tmp_path, settings, max_steps=None, max_seconds=0.05, score_at=[1, 10**12])
    assert [point["step"] for point in points(run)] == [1]


@pytest.mark.parametrize(
    ("training", "message"),
    [
        ({"score_at": [5, 5]}, r"^training.score_at = \[5, 5\]: must be positive numbers of tokens, each larger than"),
        ({"score_at": [0, 5]}, r"must be positive numbers of tokens"),
        ({"score_at": [5, 11], "max_tokens": 10}, r"^training.score_at = \[5, 11\]: must lie within training.max_tok"),
        ({"score_at": [5], "score_targets": 0}, "has no effect with training.score_targets = 0"),
        ({"score_at": 5}, r"^training.score_at = 5: expected a list of int, such as \[1, 2\]"),
        ({"score_at": [2.5]}, "^training.score_at = 2.5: expected int, got float"),
    ],
)
def test_wrong_points_are_refused(training: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        TrainingSettings.of(training)
    assert "\n" not in str(caught.value)


def test_points_beyond_the_steps_are_refused(corpus: Path, settings: Tables, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^training.score_at = \[5721\]: the run ends after 5,720 tokens; leave out"):
        train(corpus, tmp_path / "out/run", settings, score_at=[20 * STEP + 1])
    assert not (tmp_path / "out").exists()


def test_it_can_be_set_on_the_command_line() -> None:
    key, value = parse_override("training.score_at=[1_500_000,3000000]")
    assert settings_from({key[0]: {key[1]: value}}).training.score_at == [1_500_000, 3_000_000]


def test_the_record_is_as_it_is_read(scored: Path) -> None:
    assert RunDirectory(scored).read()["scores_at"] == points(scored)


def test_a_number_that_a_budget_in_seconds_does_not_reach_is_noted(
    corpus: Path, settings: Tables, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tables = settings(**PLAN | {"max_steps": None, "max_seconds": 1.0, "score_at": [STEP, 10**9]})
    record = pretrain(settings_from(tables), corpus, tmp_path / "run")
    tokens = record["results"]["tokens"]
    assert [point["score_at"] for point in points(tmp_path / "run")] == [STEP]
    note = f"note: training.score_at: the run ended after {tokens:,} tokens, not scored at 1,000,000,000"
    assert note in capsys.readouterr().out.splitlines()
