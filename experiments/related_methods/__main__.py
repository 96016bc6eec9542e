"""Six neighbouring systems beside what is usual, each on its own ground: the whole protocol, about nine core-hours.

    python -m experiments.related_methods --data DATA --task-data TASKS --out OUT [--studies convbert,pst] [--seeds 3]
    python -m experiments.related_methods --data DATA --task-data TASKS --out OUT --dry-run
    python -m experiments.related_methods --out OUT --report PAGE.md

DATA is a directory of `leanformer prepare`; TASKS holds a folder a task, and entity_linking with a folder a corpus and
the dictionary (or --linking-data). `plan.py` says what is done, job by job; the output is in OUT/logs. What is
finished is skipped when the same command is given again, what was begun is resumed, and a job that fails costs what
needs it and nothing else. The dry run prints the core-minutes of every job, and does nothing. --scale 0.02
tries the whole in minutes.

OUT/records/STUDY.json holds every number, OUT/related-methods.md the tables, both anew after every stage; --report
makes the tables from the records alone.
"""

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from rich.console import Console

from experiments.protocol import ending, in_tokens, parser, require_same
from experiments.related_methods.cost import minutes
from experiments.related_methods.page import write_page
from experiments.related_methods.plan import STAGES, STUDIES, TEXTS, Protocol, marker, stage
from experiments.related_methods.records import write as write_records
from experiments.related_methods.sizes import Sizes
from leanformer.files import write_json
from leanformer.settings import read_settings
from leanformer.study.executor import Executor
from leanformer.study.job import Job
from leanformer.study.local import LocalProcesses
from leanformer.study.stages import run_stages
from leanformer.training.machine.hardware import prepare_cpu

RECIPE = Path(__file__).parents[2] / "configs" / "recipes" / "fast.toml"


def protocol(options: argparse.Namespace) -> Protocol:
    """ValueError for what is not known."""
    studies = tuple(options.studies.split(","))
    for name in studies:
        if name not in STUDIES:
            raise ValueError(f"--studies {name}: known are {', '.join(STUDIES)}")
    if options.seeds < 1 or options.jobs < 1:
        raise ValueError("--seeds and --jobs must be at least 1")
    settings = in_tokens(read_settings(options.config, options.set or ()))
    return Protocol(
        out=options.out.absolute(), data=options.data.absolute(), task_data=str(options.task_data.absolute()),
        linking_data=(options.linking_data or options.task_data / "entity_linking").absolute(), studies=studies,
        glue=tuple(options.glue.split(",")), texts=tuple(options.texts.split(",")),
        corpora=tuple(options.corpora.split(",")), settings=settings,
        sizes=Sizes(scale=options.scale), seeds=options.seeds, jobs=options.jobs,
        threads=max(1, torch.get_num_threads() // options.jobs),
    )  # fmt: skip


def prepare(p: Protocol) -> None:
    """ValueError for an OUT that was begun otherwise; more studies and seeds are welcome."""
    written = {"settings": p.settings.to_dict(), "data": p.corpus.hash, "sizes": p.sizes.record()}
    written |= {"glue": list(p.glue), "texts": list(p.texts), "corpora": list(p.corpora)}
    require_same(p.out / "protocol.json", written, "settings, data, tasks or scale")
    (p.out / "finished").mkdir(exist_ok=True)
    write_json(p.out / "settings.json", p.settings.to_dict())


def run(p: Protocol, executor: Callable[[int], Executor] = LocalProcesses) -> list[str]:
    """All that is still to be done; names of what failed, or could not start."""
    prepare(p)

    def ended(job: Job, why: str | None, seconds: float) -> None:
        if why is None:
            write_json(marker(p.out, job.name), {"seconds": seconds, "arguments": list(job.arguments)})

    def after(name: str, missing: list[str]) -> None:
        write_records(p, missing)
        write_page(p.out / "records", p.out / "related-methods.md")

    def workers(name: str) -> Executor:
        return executor(1 if name == "comparisons" else p.jobs)

    return run_stages({name: partial(stage, p, name) for name in STAGES}, workers, Console(), ended=ended, after=after)


def main(arguments: list[str] | None = None, executor: Callable[[int], Executor] = LocalProcesses) -> int:
    known = parser("related_methods", __doc__)
    known.add_argument("--config", type=Path, default=RECIPE, metavar="CONFIG.toml", help="of the encoders")
    known.add_argument("--linking-data", type=Path, metavar="DIR", help="TASKS/entity_linking")
    known.add_argument("--studies", default=",".join(STUDIES), metavar="A,B", help=", ".join(STUDIES))
    known.add_argument("--glue", default="sst2,qqp,stsb", metavar="A,B", help="tasks of pst")
    known.add_argument("--texts", default=",".join(TEXTS), metavar="A,B", help="tasks of regsl and absgd")
    known.add_argument("--corpora", default="ncbi_disease,bc5cdr_disease", metavar="A,B", help="of linking")
    known.add_argument("--scale", type=float, default=1.0, help="of tokens, examples and epochs")
    known.add_argument("--report", type=Path, metavar="PAGE.md")
    options = known.parse_args(arguments)
    if options.report:
        write_page(options.out / "records", options.report)
        return 0
    if options.data is None or options.task_data is None:
        known.error("--data and --task-data are needed")
    prepare_cpu(None)
    p = protocol(options)
    if options.dry_run:
        total: dict[str, float] = {}
        for name, job, cost in minutes(p):
            print(f"{cost:7.1f} min  {name:11}  {job.name}")
            total[job.study] = total.get(job.study, 0.0) + cost
        for name, cost in total.items():
            print(f"{cost:7.0f} core-minutes: {name}")
        print(f"{sum(total.values()) / 60:.1f} core-hours, {p.jobs} pieces at a time with {p.threads} threads each")
        return 0
    return ending(f"tables: {p.out / 'related-methods.md'}", run(p, executor), p.out)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
