"""Fine-tuning here and by transformers' Trainer: both learn a task in equally many steps, and runs are not repeated."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import finetuning_parity as parity


@pytest.fixture
def task(tmp_path: Path) -> Path:
    """Sentences of sst2, positive if they name the river and negative if they name the house."""
    random, folder = np.random.default_rng(3), tmp_path / "tasks" / "sst2"
    folder.mkdir(parents=True)
    for split, size in (("train", 160), ("validation", 60)):
        rows = []
        for label in random.integers(0, 2, size).tolist():
            words = random.choice(["the", "old", "by", "years", "lived"], random.integers(2, 9)).tolist()
            words[random.integers(len(words))] = "river" if label else "house"
            rows.append({"sentence": " ".join(words), "label": label})
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder.parent


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_both_learn_the_task_in_equally_many_steps(
    sentence_model: Any, task: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("accelerate")
    from sentence_transformers.sentence_transformer.modules import Pooling

    out, model = tmp_path / "out", sentence_model(Pooling(30, "mean"))
    command = ["parity", str(model), "--task-data", str(task), "--out", str(out), "--examples", "150", "--threads", "1"]
    command += ["--epochs", "12", "--batch-size", "16", "--max-length", "16", "--learning-rate", "3e-3", "--seeds", "1"]
    monkeypatch.setattr(sys, "argv", command)
    parity.main()
    record = json.loads((out / parity.RECORD).read_text())
    rows = {row["system"]: row for row in record["rows"]}
    assert rows.keys() == {parity.OURS, parity.THEIRS} and record["train_examples"] == 150
    assert {row["steps"] for row in rows.values()} == {113}
    assert all(row["score"] > 0.9 for row in rows.values())
    assert record["compared"] == {system: row["score"] for system, row in rows.items()}

    monkeypatch.setattr(parity, "theirs", None)  # a second call trains nothing
    monkeypatch.setattr(parity, "ours", None)
    parity.main()
    assert json.loads((out / parity.RECORD).read_text()) == record
    monkeypatch.setattr(sys, "argv", [*command, "--batch-size", "8"])
    with pytest.raises(ValueError, match="was made with other settings: repeat them, or choose another --out"):
        parity.main()


def test_the_interval_is_welchs() -> None:
    """By hand: variances 0.0001 and 0.0004 of three each, 2.94 degrees of freedom, t = 3.218."""
    scores = {parity.OURS: (0.80, 0.81, 0.82), parity.THEIRS: (0.78, 0.80, 0.82)}
    rows = [{"system": name, "score": value} for name, values in scores.items() for value in values]
    found = parity.compared(rows)
    half = 3.218 * (0.0005 / 3) ** 0.5
    assert found["difference"] == pytest.approx(0.01)
    assert found["interval"] == pytest.approx([0.01 - half, 0.01 + half], abs=2e-4)
