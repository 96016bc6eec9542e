"""What a study of robustness tests: the conditions a model is trained under, and the texts it is tested on."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from leanformer.data import tasks
from leanformer.data.randomness import random_bits
from leanformer.data.tasks import Task
from leanformer.records.reading import SCHEMA
from leanformer.records.studies import Robustness
from leanformer.robustness.misspellings import read_misspellings
from leanformer.robustness.noise import MISSPELLINGS, Misspellings, Noise, noises, require_share
from leanformer.settings import Settings
from leanformer.study.directory import StudyDirectory

RECORD = "robustness.json"
TRANSFER, LABELS, SIZES = "transfer", "label noise", "training examples"


class Point(NamedTuple):
    """A score's place: on the axis of a noise at its level, of `TRANSFER` at a task, of `LABELS` at the share of wrong
    labels, of `SIZES` at the number of training examples."""

    axis: str
    at: float | str

    @property
    def name(self) -> str:
        return f"{self.axis.replace(' ', '-')}-{self.at if isinstance(self.at, str) else f'{self.at:g}'}"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """`tasks` to train on, `seeds` fine-tunings of each pre-trained model; the clean ones are tested on every noise at
    every level, and on the tasks of `transfer`. ValueError for what makes no sense."""

    tasks: list[str]
    task_data: str
    settings: Settings = field(default_factory=Settings)
    noises: list[str] = field(default_factory=list)
    levels: list[float] = field(default_factory=list)
    misspellings: Path | None = None
    transfer: list[str] = field(default_factory=list)
    label_noise: list[float] = field(default_factory=list)
    train_sizes: list[int] = field(default_factory=list)
    seeds: int = 1
    plugin: Path | None = None
    command: str = ""

    def __post_init__(self) -> None:
        if not self.tasks:
            raise ValueError("--task names no task")
        if self.seeds < 1:
            raise ValueError(f"--seeds {self.seeds}: at least one is needed")
        for name, shares in (("--levels", self.levels), ("--label-noise", self.label_noise)):
            for share in shares:
                require_share(name, share)
        for size in self.train_sizes:
            if size < 1:
                raise ValueError(f"--train-sizes {size}: at least one example is needed")
        if self.noises and not any(self.levels):
            raise ValueError("--noise needs --levels above 0, for example 0.1,0.2,0.4")
        if self.misspellings is not None and MISSPELLINGS not in self.noises:
            raise ValueError(f"--misspellings {self.misspellings}: it is for --noise {MISSPELLINGS}")
        if not any(list(self.points(task)) for task in self.tasks):
            raise ValueError("nothing to test: give --noise, --transfer, --label-noise or --train-sizes")
        _ = self.functions
        for name in self.tasks:
            self._check(tasks.task(name))

    def _check(self, task: Task) -> None:
        self.settings.finetuning_for(task.name)
        if task.kind == "span":
            raise ValueError(f"task {task.name}: noise would move the answers in the context; take a task with labels")
        if self.label_noise and not task.labels:
            raise ValueError(f"--label-noise: {task.name} is a regression, it has no labels; leave one of them out")
        for name in self.transfer:
            other = tasks.task(name)
            if (other.kind, set(other.labels)) != (task.kind, set(task.labels)) or not task.labels:
                labels = "; ".join(f"{of.name}: {', '.join(of.labels) or 'numbers'}" for of in (task, other))
                raise ValueError(f"--transfer {name}: its labels are not those of {task.name} ({labels})")

    @cached_property
    def known(self) -> Misspellings | None:
        return None if self.misspellings is None else read_misspellings(self.misspellings)

    @cached_property
    def functions(self) -> dict[str, Noise]:
        return noises(self.noises, self.known)

    def conditions(self) -> list[Point | None]:
        """What a model is fine-tuned under; None: all the training data, as they are."""
        labels = [Point(LABELS, share) for share in sorted(set(self.label_noise)) if share]
        return [None, *labels, *(Point(SIZES, size) for size in sorted(set(self.train_sizes)))]

    def tests(self, task: str) -> list[Point]:
        """What a model that was fine-tuned on clean data is tested on, besides clean text."""
        levels = [level for level in sorted(set(self.levels)) if level]
        texts = [Point(noise, level) for noise in dict.fromkeys(self.noises) for level in levels]
        return texts + [Point(TRANSFER, name) for name in dict.fromkeys(self.transfer) if name != task]

    def points(self, task: str) -> Iterator[Point]:
        """Returns every point that will have a score besides the clean one."""
        yield from self.tests(task)
        yield from (condition for condition in self.conditions() if condition is not None)

    def arguments(self, sources: list[Path], out: Path) -> tuple[str, ...]:
        """Returns the command that makes this study, with the settings that it has written to `out`."""
        listed: dict[str, Sequence[object]] = {
            "--task": self.tasks,
            "--noise": self.noises,
            "--levels": self.levels or [0],
            "--transfer": self.transfer,
            "--label-noise": self.label_noise,
            "--train-sizes": self.train_sizes,
        }
        single: dict[str, object] = {
            "--task-data": self.task_data,
            "--misspellings": self.misspellings,
            "--plugin": self.plugin,
        }
        single |= {"--out": out, "--seeds": self.seeds, "--config": out / "settings.json"}
        said = ["robustness", *map(str, sources)]
        for option, values in listed.items():
            if values or option == "--noise":
                said += [option, ",".join(map(str, values))]
        for option, value in single.items():
            if value is not None:
                said += [option, str(value)]
        return tuple(said)

    def record(self) -> dict[str, Any]:
        own = asdict(self) | {"settings": self.settings.to_dict()["finetuning"]}
        own |= {key: None if own[key] is None else str(own[key]) for key in ("misspellings", "plugin")}
        words = None if self.known is None else hashlib.sha256(json.dumps(self.known).encode()).hexdigest()
        return {"schema": SCHEMA, "kind": "robustness", **own, "misspellings_hash": words}


def seed_of(pretraining: int, finetuning: int) -> int:
    """The seed of noise, wrong labels and chosen examples: one for all mechanisms, another for every pair of seeds."""
    return int(random_bits(pretraining, finetuning)) >> 1


def directory(out: Path, label: str, seed: int, task: str, condition: Point | None, finetuning: int) -> Path:
    """Returns the directory of a fine-tuning."""
    name = "clean" if condition is None else condition.name
    return out / "runs" / label / f"seed-{seed}" / task / name / f"seed-{finetuning}"


def directory_of(out: Path) -> StudyDirectory:
    return StudyDirectory(out, RECORD, Robustness, "study of robustness")


def check_continues(out: Path, plan: Plan) -> None:
    """Raises ValueError unless the directory may be continued. More runs, tasks, noises, levels and seeds are welcome;
    other settings, data or misspellings are refused."""
    study = directory_of(out)
    before, now = study.read(), plan.record()
    if before is None:
        return study.require_free()
    for key in ("task_data", "misspellings_hash"):
        if before.get(key) is not None and now[key] is not None and before[key] != now[key]:
            raise FileExistsError(f"{out} was made with another {key}: repeat it, or give another --out")
    old, new = ({f"finetuning.{key}": value for key, value in of["settings"].items()} for of in (before, now))
    study.require_same(old, new, "was made with", free=("finetuning.seed", "finetuning.threads"))
