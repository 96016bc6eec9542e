"""A comparison of tiny models, as a command; whether two of them made the same; and what to wait for meanwhile."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from leanformer.files import sha256

STEPS = int(os.environ.get("LEANFORMER_CLUSTER_STEPS", "600"))
"""Steps of a run. It must last some seconds, so that it can be disturbed in the middle; a busy machine needs fewer."""
SETTINGS = [
    *("model.hidden_size=16", "model.num_hidden_layers=1", "model.num_attention_heads=2", "model.intermediate_size=32"),
    *("model.max_position_embeddings=32", "training.sequence_length=32", "training.batch_size=4"),
    *(f"training.max_steps={STEPS}", f"training.validate_every={STEPS // 2}", "training.validation_sequences=8"),
    *("training.log_every=10", "training.checkpoint_every=20", "training.threads=1", "training.score_targets=512"),
]
ALL = ("--attention", "dot_product,symmetric,pairwise,shared", "--seeds", "6")
"""24 runs."""
FOUR = ("--attention", "dot_product,symmetric", "--seeds", "2")
"""Four of them."""
TIMES = ("seconds", "tokens_per_second", "mfu", "energy_joules", "joules_per_million_tokens")
"""What a report says of a run that depends on the machine's load."""


def comparison(data: Path, out: Path, *more: str) -> list[str]:
    settings = [argument for setting in SETTINGS for argument in ("--set", setting)]
    return [sys.executable, "-m", "leanformer_cli", "compare", "--data", str(data), "--out", str(out), *more, *settings]


def start(command: list[str], log: Path, environment: Mapping[str, str] = os.environ) -> "subprocess.Popen[bytes]":
    with log.open("ab") as file:
        return subprocess.Popen(command, env=dict(environment), stdout=file, stderr=subprocess.STDOUT)


def on_this_machine(data: Path, out: Path, runs: tuple[str, ...], log: Path) -> "subprocess.Popen[bytes]":
    """The comparison as processes of this machine, begun."""
    return start(comparison(data, out, *runs, "--jobs", "2", "--quiet"), log)


def wait_for(condition: Callable[[], object], seconds: float = 300.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.2)


def begun(out: Path) -> set[str]:
    """Runs that have logged a step and have not saved their model."""
    curves = [file for file in out.glob("runs/*/*/curve.jsonl") if file.stat().st_size]
    return {str(file.parent.relative_to(out)) for file in curves if not (file.parent / "model").exists()}


def weights(out: Path) -> dict[str, str]:
    """{run: sha256 of its model}"""
    files = out.glob("runs/*/*/model/model.safetensors")
    return {str(file.parent.parent.relative_to(out)): sha256(file) for file in sorted(files)}


def numbers(out: Path) -> dict[str, Any]:
    """What the report says of the runs and of their differences, without times."""
    results = json.loads((out / "results.json").read_text())
    runs = {run["path"]: {k: v for k, v in run.items() if k not in TIMES} for run in results["runs"]}
    return {"runs": runs} | {name: results[name] for name in ("floor", "comparisons", "held_out", "sweep")}


def starts(out: Path) -> dict[str, int]:
    """{log of a run: how often the run was begun}"""
    return {file.stem: file.read_text().count("--- ") for file in sorted(out.glob("logs/*"))}


def require_equal(out: Path, undisturbed: Path) -> None:
    """The same runs with the same weights, and a report with the same numbers."""
    assert len(weights(undisturbed)) >= 4
    assert weights(out) == weights(undisturbed)
    assert numbers(out) == numbers(undisturbed)
