"""What the long experiments share: their options, their jobs in stages, and the estimate of what these take.

Every job is a command, its output in OUT/logs. What is finished is skipped when the same command is given again, what
was begun is resumed, and a job that fails costs what needs it and nothing else.
"""

import argparse
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any, ClassVar

import torch
from rich.console import Console

from leanformer.data.corpus import Corpus
from leanformer.data.tasks import task as find_task
from leanformer.files import write_json
from leanformer.models.cost import ledger
from leanformer.records.reading import SCHEMA
from leanformer.settings import FinetuningSettings, Settings
from leanformer.study.estimate import Reading, reading
from leanformer.study.execution import Execution
from leanformer.study.executor import Executor
from leanformer.study.job import Job
from leanformer.study.stages import run_stages
from leanformer.training.budget.pace import measure
from leanformer.training.machine.hardware import autocast_dtype, describe, prepare_cpu
from leanformer.training.objectives.masked_lm import MaskedLM
from leanformer.training.objectives.table import model_config
from leanformer.training.run.record import versions

Workers = Callable[[int], Executor]
"""The executor of so many jobs at a time, in the place of the one that the options name."""


@dataclass(frozen=True, kw_only=True)
class ExperimentJob(Job):
    """A job whose name is its folder in OUT."""

    out: Path
    row: dict[str, Any] = field(default_factory=dict, hash=False)
    """What it is, for the records."""
    needs: tuple[str, ...] = ()
    """Names of jobs, or folders that are there."""


@dataclass(frozen=True, kw_only=True)
class Experiment:
    out: Path
    data: Path
    task_data: str
    settings: Settings
    """The settings of the models that are pre-trained."""
    seeds: int
    jobs: int
    """The number of jobs that run at a time."""
    threads: int
    """The threads of one job; a job that runs alone has those of all `jobs`."""
    execution: Execution = field(default_factory=Execution)

    stages: ClassVar[Mapping[str, Callable[[Any], Iterator[Any]]]] = {}
    """A stage needs what the stages before it made; its jobs need nothing of each other, the most telling first."""
    alone: ClassVar[str]
    """The stage whose jobs run one at a time."""
    page: ClassVar[str]
    """The file in OUT that shows the results."""

    def stage(self, name: str) -> list[Any]:
        return list(self.stages[name](self))

    def prepare(self) -> None:
        """Write what no command makes. Raises ValueError for an OUT that was begun with other settings."""

    def ended(self, job: Any, why: str | None, seconds: float) -> None:
        """What is noted of a job that ended; `why` is None for a success."""

    def after(self, stage: str, missing: list[str]) -> None:
        """Write the records and the page of what is there; `missing` names the jobs that failed or could not start."""

    def seconds(self, job: Any, speed: float) -> float:
        """About how long the job takes with its threads, which do `speed` FLOPs per second in training."""
        raise NotImplementedError

    def group(self, stage: str, job: Any) -> str:
        """What the estimate sums the job with."""
        return stage

    @cached_property
    def corpus(self) -> Corpus:
        return Corpus.open(self.data)

    def place(self, path: str) -> dict[str, Any]:
        """Returns a job's name, which is its folder in OUT, with the folder and its log."""
        log = self.out / "logs" / f"{slug(path)}.log"
        return {"name": path, "out": self.out, "directory": self.out / path, "log": log}

    def left(self) -> Iterator[tuple[str, Any]]:
        """(stage, job) of what is still to be done."""
        return ((name, job) for name in self.stages for job in self.stage(name) if not job.finished)

    def carry_out(self, dry_run: bool, executor: Workers | None = None) -> int:
        """Do all that is still to be done, or print its estimate; the exit status."""
        if dry_run:
            self.estimate()
            return 0
        self.execution.require_no_queue(self.out)
        self.prepare()
        executor = executor or (lambda workers: self.execution.make(self.out, workers, self.threads))
        stages = {name: partial(self.stage, name) for name in self.stages}
        workers = {name: 1 if name == self.alone else self.jobs for name in stages}
        missing = run_stages(
            stages, lambda name: executor(workers[name]), Console(), ended=self.ended, after=self.after
        )
        print(f"tables: {self.out / self.page}")
        if missing:
            print(f"{len(missing)} jobs failed or could not start, {missing[0]} first: logs are in {self.out / 'logs'}")
        return bool(missing)

    def begin(self, what: str, **protocol: Any) -> None:
        """ValueError if OUT was begun with other settings or data, or another of `what` this protocol says."""
        file = self.out / "protocol.json"
        written = {"settings": self.settings.to_dict(), "data": self.corpus.hash, **protocol}
        if file.exists() and json.loads(file.read_text(encoding="utf-8")) != written:
            raise ValueError(f"{file} was begun with other settings, {what}: repeat them, or choose another --out")
        self.out.mkdir(parents=True, exist_ok=True)
        write_json(file, written)
        write_json(self.out / "settings.json", self.settings.to_dict())

    def head(self, kind: str) -> dict[str, Any]:
        """What every record says first."""
        return {
            "schema": SCHEMA,
            "kind": kind,
            "seeds": self.seeds,
            "jobs": self.jobs,
            "data": {"hash": self.corpus.hash, "vocab_size": self.corpus.vocab_size},
            "versions": versions(),
            "hardware": self.hardware(),
        }

    def hardware(self) -> dict[str, Any]:
        """Returns the machine, the number of jobs at a time, and the precision that they train in."""
        cpu = torch.device("cpu")
        return describe(cpu, self.jobs, autocast_dtype(self.settings.training.precision, cpu))

    def flops(self, settings: Settings | None = None, length: int | None = None) -> Mapping[str, float]:
        """FLOPs per token, by "training" and "forward"; with a `length` those of fine-tuning on texts as long."""
        training, config = self.settings.training, model_config(settings or self.settings, self.corpus)
        scored = 0 if length else MaskedLM(self.corpus, training).scored
        return ledger(config, length or training.sequence_length, scored)["flops_per_token"]

    def flops_per_second(self, threads: int) -> float:
        """Returns the speed of training a model of the settings here for its whole budget, optimizer's steps too."""
        objective = MaskedLM(self.corpus, self.settings.training)
        assert objective.total_steps is not None
        training = replace(self.settings.training, threads=threads)
        pace = measure(replace(self.settings, training=training), self.corpus)
        tokens = objective.tokens(objective.total_steps)
        return tokens * self.flops()["training"] / pace.seconds(tokens, objective.total_steps, 0)

    def finetuning_tokens(self, task: str) -> float:
        """Tokens of training that cost as much as a fine-tuning by the settings."""
        settings = self.settings.finetuning_for(task)
        limits = settings.max_length, settings.max_train_examples, settings.max_eval_examples
        return task_reading(task, self.task_data, *limits).training(settings.epochs)

    def estimate(self) -> None:
        """Print the core-minutes of what is still to be done, of cores that do nothing else."""
        began, total = (time.perf_counter(), time.process_time()), dict[str, float]()
        speed = self.flops_per_second(self.threads)
        share = (time.process_time() - began[1]) / (time.perf_counter() - began[0]) / self.threads
        for name, job in self.left():
            minutes = self.threads * self.seconds(job, speed / min(1.0, share)) / 60
            print(f"{minutes:7.1f} min  {name:11}  {job.name}")
            group = self.group(name, job)
            total[group] = total.get(group, 0.0) + minutes
        for group, minutes in total.items():
            print(f"{minutes:7.0f} core-minutes: {group}")
        hours = sum(total.values()) / 60
        wall = f"{hours / self.jobs / self.threads:.1f} hours"
        print(f"{hours:.1f} core-hours, {wall}, {self.jobs} at a time with {self.threads} threads each")


@cache
def task_reading(task: str, where: str, length: int, examples: int | None, scored: int | None) -> Reading:
    """What a fine-tuning reads with these limits (`FinetuningSettings`)."""
    limits = FinetuningSettings(max_length=length, max_train_examples=examples, max_eval_examples=scored)
    return reading(find_task(task), where, limits)


def read_result(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8"))


def read_record(file: Path, *kinds: str) -> dict[str, Any]:
    """ValueError for what is no record of these kinds."""
    record = read_result(file)
    if record.get("schema") != SCHEMA or record.get("kind") not in kinds:
        raise ValueError(f"{file} is no record of this protocol, or of another version")
    return dict(record)


def parser(name: str, description: str | None, config: Path) -> argparse.ArgumentParser:
    """The options that all of them have."""
    made = argparse.ArgumentParser(
        prog=f"python -m experiments {name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--out", type=Path, required=True)
    made.add_argument("--data", type=Path)
    made.add_argument("--task-data", type=Path, metavar="TASKS")
    made.add_argument("--config", type=Path, default=config, metavar="CONFIG.toml", help="of what is pre-trained")
    made.add_argument("--set", action="append", metavar="TABLE.KEY=VALUE", help="of the config")
    made.add_argument("--seeds", type=int, default=3)
    made.add_argument("--jobs", type=int, default=2, help="jobs at a time on one machine, or in one allocation")
    made.add_argument("--executor", default="local", metavar="NAME", help="local, slurm or ray (docs/cluster.md)")
    made.add_argument("--parallel", type=int, metavar="N", help="allocations or tasks of a cluster at a time")
    made.add_argument("--slurm", action="append", metavar="KEY=VALUE", help="an option of sbatch, or a TOML file")
    made.add_argument("--dry-run", action="store_true")
    return made


def fields(options: argparse.Namespace) -> dict[str, Any]:
    """The fields of an `Experiment` that these options give, all but the settings; ValueError where one is wrong."""
    if options.data is None or options.task_data is None:
        raise ValueError("--data and --task-data are needed")
    if options.seeds < 1 or options.jobs < 1:
        raise ValueError("--seeds and --jobs must be at least 1")
    asked = Execution.of(options.executor, options.jobs, options.parallel, options.slurm or [])
    prepare_cpu(None)
    out, data, task_data = (path.absolute() for path in (options.out, options.data, options.task_data))
    found = {"out": out, "data": data, "task_data": str(task_data), "seeds": options.seeds, "jobs": options.jobs}
    return found | {"threads": max(1, torch.get_num_threads() // options.jobs), "execution": asked}


def slug(label: str) -> str:
    """A name of a folder."""
    return re.sub(r"[^\w.+=-]+", "-", label).strip("-")


def in_tokens(settings: Settings) -> Settings:
    """The jobs have budgets of tokens; another one of the config would be a second."""
    return replace(settings, training=replace(settings.training, max_steps=None, max_seconds=None))


def command(*words: Any, **options: Any) -> tuple[str, ...]:
    """command("export", RUN, format="hub", set=["a=1"], quiet=True) is export RUN --format hub --set a=1 --quiet.

    A list repeats its option, and an option that is None, False or an empty list is left out.
    """
    said = [str(word) for word in words]
    for name, value in options.items():
        option = f"--{name.replace('_', '-')}"
        if value is True:
            said.append(option)
        elif isinstance(value, list):
            said += [word for each in value for word in (option, str(each))]
        elif value is not None and value is not False:
            said += [option, str(value)]
    return tuple(said)
