"""What converting a trained model's attention costs, and how far distillation recovers it: a protocol of hours.

    python -m experiments.conversion --data DATA --task-data TASKS --out OUT [--config CONFIG.toml | --teacher RUN]
    python -m experiments.conversion --data DATA --task-data TASKS --out OUT --closely pairwise,shared --targets-only
    python -m experiments.conversion --data DATA --task-data TASKS --out OUT --dry-run
    python -m experiments.conversion --out OUT --report

DATA is a directory of `leanformer prepare`, TASKS a folder with one folder per task. `plan.py` says what is done, job
by job; every job is a leanformer command, its output in OUT/logs. What is finished is skipped when the same command is
given again, what was begun is resumed, and a job that fails costs what needs it and nothing else. The dry run prints
the minutes of every job, from the speed of a training step on this machine, and does nothing.

OUT/results.json holds every number, OUT/report.md the tables, both anew after every stage; --report makes the tables
from results.json alone.
"""

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import torch
from rich.console import Console

from experiments.conversion.plan import STAGES, ConversionJob, Protocol, stage
from experiments.conversion.results import write_report, write_results
from experiments.protocol import ending, in_tokens, parser, require_same
from leanformer.comparison.variants import Variant, sized_variants
from leanformer.data.tasks import task as find_task
from leanformer.data.tokenizer_files import load as load_tokenizer
from leanformer.files import write_json, write_text
from leanformer.models import LeanformerForMaskedLM
from leanformer.models.cost import ledger
from leanformer.models.initialisation import initialise
from leanformer.settings import Settings, read_settings, settings_from
from leanformer.study.estimate import PROCESS_SECONDS, reading
from leanformer.study.executor import Executor
from leanformer.study.local import LocalProcesses
from leanformer.study.stages import run_stages
from leanformer.training.machine.hardware import prepare_cpu
from leanformer.training.objectives.masked_lm import MaskedLM
from leanformer.training.objectives.table import model_config
from leanformer.training.run.saved_model import save

CONFIG = Path(__file__).parents[2] / "configs" / "teacher.toml"
CLOSELY = "pairwise,phased,shared,phased[projection=shared_all]"
EVERY = f"{CLOSELY},symmetric,pairwise[projection=shared_all],random+symmetric,random"
FEW = "pairwise,shared"
SAMPLE = 400
"""Sequences of the training data that conversions are fitted to: the first 256 of them, and some to spare."""
SECONDS = {"convert": 40.0, "export": 60.0}
"""Of jobs that train nothing, about."""


def protocol(options: argparse.Namespace) -> Protocol:
    """ValueError for what does not fit together, and for an OUT that was begun otherwise."""
    if options.teacher is not None:
        options.teacher = options.teacher.resolve()
        record = json.loads((options.teacher / "run.json").read_text(encoding="utf-8"))
        if record["status"] != "finished" or record["attention"] != "dot_product":
            raise ValueError(f"--teacher {options.teacher}: not a finished run with dot_product attention")
        tuning = read_settings(options.config).to_dict()["finetuning"]
        settings = settings_from(
            {table: record["settings"][table] for table in ("model", "training")} | {"finetuning": tuning}
        )
    else:
        settings = read_settings(options.config, options.set or ())
    lists: dict[str, list[Variant]] = {
        name: sized_variants(getattr(options, name)) for name in ("every", "closely", "few")
    }
    labels = [variant.label for variant in lists["every"]]
    for name in ("closely", "few"):
        for variant in lists[name]:
            if variant.label not in labels or (name == "few" and variant not in lists["closely"]):
                raise ValueError(f"--{name} names {variant.label}, which the longer list does not")
    if options.targets_only:
        lists["every"], lists["few"] = lists["closely"], []
    cores = torch.get_num_threads()
    made = Protocol(
        out=options.out, data=options.data, task_data=str(options.task_data), tasks=tuple(options.tasks.split(",")),
        settings=settings, given=options.teacher, seeds=options.seeds, jobs=options.jobs,
        threads=max(1, cores // options.jobs), targets_only=options.targets_only, **lists,
    )  # fmt: skip
    for variant in made.every:
        model_config(with_attention(made, variant), made.corpus)
    return made


def with_attention(p: Protocol, variant: Variant | None) -> Settings:
    if variant is None:
        return p.settings
    return replace(
        p.settings,
        model={**p.settings.model, "attention": variant.mechanism, "attention_options": variant.options},
    )


def prepare(p: Protocol) -> None:
    """What no command makes: settings, a text of the training data, models of random values."""
    written = {"settings": p.settings.to_dict(), "data": p.corpus.hash, "teacher": p.given and str(p.given)}
    require_same(p.out / "protocol.json", written, "settings, data or teacher")
    write_json(p.out / "settings.json", p.settings.to_dict())
    training = asdict(in_tokens(p.settings).training)
    write_json(p.out / "scratch.json", {"model": dict(p.settings.model), "training": training})
    write_json(p.out / "healing.json", {"training": training})
    length = p.settings.training.sequence_length
    ids = p.corpus.train.batch(range(min(SAMPLE, p.corpus.train.sequences(length))), length)
    tokenizer = load_tokenizer(p.data)
    texts = (tokenizer.decode(row.tolist(), skip_special_tokens=True) for row in ids)
    write_text(p.out / "sample.txt", "\n\n".join(texts) + "\n")
    for seed in range(1, p.seeds + 1):
        folder = p.out / f"random/seed-{seed}/model"
        if not folder.exists():
            model = LeanformerForMaskedLM(model_config(p.settings, p.corpus))
            initialise(model, seed)
            folder.parent.mkdir(parents=True, exist_ok=True)
            save(model, p.corpus.tokenizer_files, folder)


def run(p: Protocol, executor: Callable[[int], Executor] = LocalProcesses) -> list[str]:
    """All that is still to be done; names of what failed, or could not start."""
    prepare(p)

    def after(name: str, missing: list[str]) -> None:
        if name == "trial" and p.rate() is None:
            raise ValueError(f"the trial of rates is not complete ({missing[0]}): logs are in {p.out / 'logs'}")
        write_results(p, missing)
        write_report(p.out)

    stages = {name: partial(stage, p, name) for name in STAGES}
    return run_stages(stages, lambda name: executor(1 if name == "teacher" else p.jobs), Console(), after=after)


def minutes(p: Protocol) -> list[tuple[str, ConversionJob, float]]:
    """(stage, job, minutes) of what is still to be done; the trial's rate, if open, is the middle one."""
    speeds = {threads: p.flops_per_second(threads) for threads in {p.threads, p.threads * p.jobs}}
    found = []
    for name in STAGES:
        rate = speeds[p.threads * p.jobs if name == "teacher" else p.threads]
        for job in stage(p, name):
            if not job.finished:
                found.append((name, job, (work(p, job) / rate + SECONDS.get(job.verb, PROCESS_SECONDS)) / 60))
    return found


def work(p: Protocol, job: ConversionJob) -> float:
    """FLOPs; a student's teacher reads along."""
    length, scored = p.settings.training.sequence_length, MaskedLM(p.corpus, p.settings.training).scored
    config = model_config(with_attention(p, job.variant), p.corpus)
    if job.verb == "finetune":
        settings = p.settings.finetuning_for(job.row["task"])
        tokens = reading(find_task(job.row["task"]), p.task_data, settings).training(settings.epochs)
        return (job.seeds or 1) * tokens * ledger(config, 32, 0)["flops_per_token"]["training"]
    flops = ledger(config, length, scored)["flops_per_token"]["training"]
    if job.verb == "distill":
        flops += ledger(model_config(p.settings, p.corpus), length, scored)["flops_per_token"]["forward"]
    return job.tokens * flops


def main(arguments: list[str] | None = None, executor: Callable[[int], Executor] = LocalProcesses) -> int:
    known = parser("conversion", __doc__)
    known.add_argument("--tasks", default="sst2,mrpc,rte,cola")
    teacher = known.add_mutually_exclusive_group()
    teacher.add_argument("--teacher", type=Path, metavar="RUN", help="a finished run, instead of a new one")
    teacher.add_argument("--config", type=Path, default=CONFIG, metavar="CONFIG.toml", help="the teacher's")
    for name, default in (("every", EVERY), ("closely", CLOSELY), ("few", FEW)):
        known.add_argument(f"--{name}", default=default, metavar="NAMES", help=f"mechanisms: {default}")
    known.add_argument("--targets-only", action="store_true", help="distill and fine-tune --closely, nothing else")
    known.add_argument("--report", action="store_true")
    options = known.parse_args(arguments)
    if options.report:
        write_report(options.out)
        return 0
    if options.data is None or options.task_data is None:
        known.error("--data and --task-data are needed")
    prepare_cpu(None)
    p = protocol(options)
    if options.dry_run:
        total: dict[str, float] = {}
        for name, job, cost in minutes(p):
            print(f"{cost:7.1f} min  {name:9}  leanformer {' '.join(job.arguments)}")
            total[name] = total.get(name, 0.0) + cost / (1 if name == "teacher" else p.jobs)
        for name, cost in total.items():
            print(f"{cost:7.0f} minutes of wall clock: {name}")
        print(f"{sum(total.values()) / 60:.1f} hours, {p.jobs} at a time with {p.threads} threads each")
        return 0
    return ending(f"report: {p.out / 'report.md'}", run(p, executor), p.out)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
