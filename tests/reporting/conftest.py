"""Fabricated record directories: made-up runs with known properties, in the layout that training and compare write."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from leanformer.training.run.scores import write as write_scores

FLOOR, UNIGRAM, START = 2.921, 3.046, 4.1
TOKENS = 8_019_968
PARAMETERS = {"dot_product": 1_053_184, "symmetric": 987_136, "pairwise": 1_003_520, "shared": 856_320}


@dataclass
class Fabrication:
    """`effects`: what a mechanism adds to the final loss; `noise`: sd of what a seed adds to one mechanism alone."""

    effects: Mapping[str, float] = field(
        default_factory=lambda: {"dot_product": 0.0, "symmetric": 0.004, "pairwise": -0.031, "shared": 0.112}
    )
    seeds: Sequence[int] = (1, 2, 3, 4, 5)
    base: float = 1.823
    noise: float = 0.008
    learning_rates: Sequence[float] | None = None
    tasks: Mapping[str, float] = field(default_factory=dict)
    """Task -> mean score of the baseline."""
    task_seeds: int = 3
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Overrides of `training`."""
    points: int = 0
    """Of a curve.jsonl, with a validation at each; none: the validations stand in run.json alone."""
    scored: Mapping[str, float] = field(default_factory=dict)
    """Held-out part -> sd of what one sequence adds to the difference of two mechanisms, nats per target."""
    scored_at: Mapping[int, float] = field(default_factory=dict)
    """Number of tokens -> what the losses there are above the final ones, on the same parts."""
    sequences: int = 200
    """In each of these parts; four begin in one document."""

    def write(self, directory: Path) -> Path:
        runs = []
        for seed in self.seeds:
            for rate in self.learning_rates or [2e-3]:
                for name in self.effects:
                    folder = f"{name}-lr{rate:g}" if self.learning_rates else name
                    path = f"runs/{folder}/seed-{seed}"
                    runs.append({"attention": name, "seed": seed, "learning_rate": rate, "path": path})
                    self.run(directory / path, name, seed, rate)
        data = {"path": "runs/quickstart/data", "hash": "5d1f0a7c" * 8, "vocab_size": 96}
        plan = {
            "schema": 1,
            "attention": list(self.effects),
            "baseline": "dot_product",
            "seeds": list(self.seeds),
            "learning_rates": self.learning_rates and list(self.learning_rates),
            "tasks": list(self.tasks),
            "task_seeds": self.task_seeds,
            "settings": {"model": {"positions": "rotary"}, "training": {}, "finetuning": {"epochs": 3.0}},
            "data": data,
            "command": f"leanformer compare --data DATA --attention {','.join(self.effects)} --seeds 5 --out DIR",
            "runs": runs,
        }
        write(directory / "comparison.json", plan)
        return directory

    def run(self, folder: Path, name: str, seed: int, rate: float = 2e-3) -> None:
        common = np.random.default_rng([seed, 0]).normal(0, 0.02)
        own = np.random.default_rng([seed, *name.encode()])
        final = self.base + self.effects[name] + common + (own.normal(0, self.noise) if self.noise else 0.0)
        final += 0.25 * np.log10(rate / 2e-3) ** 2
        made = record(name, seed, final, curve(final, own), rate, self.settings)
        if self.points:
            made["results"]["validations"] = logged(folder / "curve.jsonl", made["results"]["validations"], self.points)
        if self.scored:
            made["results"]["scores"] = self.score(folder / "scores", name, final, own)
        for number, above in self.scored_at.items():
            step = -(-number // 2048)
            where = {"score_at": number, "step": step, "tokens": 2048 * step, "folder": f"scores/step-{step:08d}"}
            scores = self.score(folder / where["folder"], name, final + above, own)
            made.setdefault("scores_at", []).append(where | {"scores": scores})
        write(folder / "run.json", made)
        for task, score in self.tasks.items():
            for k in range(1, self.task_seeds + 1):
                value = float(np.clip(score - 0.3 * self.effects[name] + own.normal(0, 0.012), 0, 1))
                write(folder / f"tasks/{task}/seed-{k}/run.json", finetuning(task, k, value))

    def score(self, folder: Path, name: str, final: float, own: np.random.Generator) -> dict[str, Any]:
        """Ten targets of each sequence; what a sequence is to a mechanism is the same for all of its seeds."""
        arrays, records = {}, {}
        for number, (part, sd) in enumerate(self.scored.items()):
            of_sequence = np.random.default_rng([number, *name.encode()]).normal(0, sd, self.sequences)
            losses = 10 * (final + number + of_sequence - of_sequence.mean() + own.normal(0, 0.01, self.sequences))
            places = np.arange(self.sequences)
            columns = {"losses": losses, "targets": np.full(self.sequences, 10), "sequences": places}
            arrays[part] = columns | {"documents": 1 + places // 4}
            records[part] = {
                "loss": float(losses.mean() / 10),
                "targets": 10 * self.sequences,
                "sequences": self.sequences,
                "draws": 1,
                "whole": True,
                "context_free": FLOOR + number,
                "unigram": UNIGRAM + number,
            }
        write_scores(folder, arrays, records)
        return records


def curve(final: float, noise: np.random.Generator) -> list[tuple[int, float]]:
    """From START down to the plateau at the floor, off it about a tenth of the way, ending at exactly `final`."""
    done = np.linspace(0, 1, 26)
    plateau = FLOOR + (START - FLOOR) * np.exp(-done * 60)
    learned = 1 / (1 + np.exp(-(done - 0.12) * 40)) * (1 - np.exp(-3 * done)) / (1 - np.exp(-3))
    losses = plateau - (FLOOR - final) * learned + np.append(noise.normal(0, 0.004, 25), 0)
    losses[-1] = final
    return [(int(t), float(loss)) for t, loss in zip(np.round(done * TOKENS), losses, strict=True)]


def logged(path: Path, validations: Sequence[tuple[int, float]], points: int) -> list[tuple[int, float]]:
    """Writes the curve of a run that validates at every one of so many steps; its validations."""
    tokens = np.round(np.linspace(0, TOKENS, points + 1)[1:]).astype(int)
    losses = np.interp(tokens, *zip(*validations, strict=True))
    both = [(int(t), float(loss)) for t, loss in zip(tokens, losses, strict=True)]
    lines = [
        {"step": step, "tokens": t, "seconds": t / 150_000, "loss": loss, "validation_loss": loss, "grad_norm": 1.0}
        for step, (t, loss) in enumerate(both, 1)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return both


def record(
    name: str, seed: int, final: float, points: list[tuple[int, float]], rate: float = 2e-3, settings: Any = None
) -> dict[str, Any]:
    parameters = PARAMETERS.get(name, 900_000)
    speed = 151_000 + 7 * seed * seed
    return {
        "schema": 1,
        "kind": "pretrain",
        "status": "finished",
        "attention": name.partition("[")[0],
        "attention_options": {},
        "seed": seed,
        "settings": {
            "model": {
                "attention": name.partition("[")[0],
                "hidden_size": 128,
                "num_hidden_layers": 4,
                "num_attention_heads": 4,
                "positions": "rotary",
            },
            "training": {
                "max_tokens": 8_000_000,
                "batch_size": 32,
                "sequence_length": 64,
                "learning_rate": rate,
                "schedule": "linear",
                "seed": seed,
                **(settings or {}),
            },
        },
        "versions": {"leanformer": "0.1.0", "python": "3.11.2", "torch": "2.13.0", "transformers": "5.23.0"},
        "hardware": {"processor": "a fabricated machine", "cores": 2},
        "ledger": {
            "parameters": {"total": parameters},
            "flops_per_token": {"forward": 2 * parameters, "training": 6 * parameters},
        },
        "data": {
            "path": "runs/quickstart/data",
            "hash": "5d1f0a7c" * 8,
            "tokenizer_hash": "77aa" * 16,
            "vocab_size": 96,
        },
        "floor": {"context_free": FLOOR, "unigram": UNIGRAM},
        "results": {
            "steps": TOKENS // 2048,
            "tokens": TOKENS,
            "seconds": TOKENS / speed,
            "tokens_per_second": float(speed),
            "final_loss": float(final),
            "best_loss": min(float(final), *(loss for _, loss in points)),
            "validations": points,
        },
    }


def finetuning(task: str, seed: int, score: float, *, collapsed: bool = False) -> dict[str, Any]:
    metric = "matthews" if task == "cola" else "accuracy"
    results = {"score": score, "metrics": {metric: score}, "examples": 872, "seconds": 12.5, "collapsed": collapsed}
    return {
        "schema": 1,
        "kind": "finetune",
        "status": "finished",
        "task": task,
        "seed": seed,
        "settings": {"finetuning": {"epochs": 3.0}},
        "results": results,
    }


def write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def change(path: Path, edit: Callable[[dict[str, Any]], Any]) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    edit(content)
    write(path, content)


@pytest.fixture
def fabricate(tmp_path: Path) -> Callable[..., Path]:
    """`fabricate(seeds=(1, 2), ...)` writes a comparison directory, see `Fabrication`."""

    def make(**fields: Any) -> Path:
        return Fabrication(**fields).write(tmp_path / "comparison")

    return make


@pytest.fixture
def fabricate_run(tmp_path: Path) -> Callable[..., Path]:
    """`fabricate_run("pairwise", seed=3)` writes the directory of a single run."""

    def make(name: str, seed: int = 1, **fields: Any) -> Path:
        Fabrication(**fields).run(tmp_path / "run", name, seed)
        return tmp_path / "run"

    return make


@pytest.fixture
def edit() -> Callable[[Path, Callable[[dict[str, Any]], Any]], None]:
    """`edit(path, lambda record: ...)` changes a JSON file in place."""
    return change


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A comparison of four mechanisms, three seeds and two tasks; for tests that only look."""
    fabrication = Fabrication(tasks={"sst2": 0.8, "cola": 0.12}, seeds=(1, 2, 3))
    return fabrication.write(tmp_path_factory.mktemp("whole"))
