"""Six neighbouring systems beside what is usual, each on its own ground: the whole protocol, about nine core-hours.

    python -m experiments.related_methods --data DATA --task-data TASKS --out OUT [--studies convbert,pst] [--seeds 3]
    python -m experiments.related_methods --data DATA --task-data TASKS --out OUT --dry-run
    python -m experiments.related_methods --out OUT --report PAGE.md

DATA is a directory of `leanformer prepare`; TASKS holds a folder a task, and entity_linking with a folder a corpus and
the dictionary (or --linking-data). `plan.py` says what is done, piece by piece; its output is in OUT/logs.
What is finished is skipped when the same command is given again, what was begun is resumed, and a piece that fails
costs what needs it and nothing else. The dry run tells the core-minutes of every piece, and does nothing. --scale 0.02
tries the whole in minutes.

OUT/records/STUDY.json holds every number, OUT/related-methods.md the tables, both anew after every stage; --report
makes the tables from the records alone.
"""

import argparse
import sys
import time
from pathlib import Path

import torch

from benchmarks.protocol import Runner, in_tokens, require_same, run_stage, slug
from experiments.related_methods.cost import minutes
from experiments.related_methods.page import write_page
from experiments.related_methods.plan import STAGES, STUDIES, TEXTS, Piece, Protocol, marker, stage
from experiments.related_methods.records import write as write_records
from experiments.related_methods.sizes import Sizes
from leanformer.comparison.runner import Job, run_jobs
from leanformer.files import write_json
from leanformer.settings import read_settings
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


def job(p: Protocol, piece: Piece) -> Job:
    """Its command; one that was begun goes on."""
    arguments = piece.arguments
    begun = {"pretrain": "run.json", "compare": "comparison.json"}.get(arguments[0])
    if begun is not None and (p.out / piece.path / begun).exists():
        arguments += ("--resume",)
    log = p.out / "logs" / f"{slug(piece.path)}.log"
    return Job(name=piece.path, arguments=arguments, log=log, program=piece.program)


def run(p: Protocol, runner: Runner = run_jobs) -> list[str]:
    """All that is still to be done; names of what failed, or could not start."""
    prepare(p)
    missing: list[str] = []
    for name in STAGES:
        pieces = {piece.path: piece for piece in stage(p, name) if not piece.finished(p.out)}
        ready = [piece for piece in pieces.values() if all(marker(p.out, path).is_file() for path in piece.needs)]
        missing += [path for path in pieces if path not in {piece.path for piece in ready}]
        workers, started = 1 if name == "comparisons" else p.jobs, time.perf_counter()
        ends = [started] * workers

        def finish(each: Job, pieces: dict[str, Piece] = pieces, ends: list[float] = ends) -> None:
            """A worker that was free first took it."""
            began, now = ends.pop(0), time.perf_counter()
            ends.append(now)
            written = {"seconds": now - began, "arguments": list(pieces[each.name].arguments)}
            write_json(marker(p.out, each.name), written)

        missing += run_stage(name, [job(p, piece) for piece in ready], workers, runner, finish)
        if pieces or name == STAGES[-1]:  # what is there by now can be read
            write_records(p, missing)
            write_page(p.out / "records", p.out / "related-methods.md")
    return missing


def main(arguments: list[str] | None = None, runner: Runner = run_jobs) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m experiments.related_methods",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--task-data", type=Path, metavar="TASKS")
    parser.add_argument("--linking-data", type=Path, metavar="DIR", help="TASKS/entity_linking")
    parser.add_argument("--studies", default=",".join(STUDIES), metavar="A,B", help=", ".join(STUDIES))
    parser.add_argument("--glue", default="sst2,qqp,stsb", metavar="A,B", help="tasks of pst")
    parser.add_argument("--texts", default=",".join(TEXTS), metavar="A,B", help="tasks of regsl and absgd")
    parser.add_argument("--corpora", default="ncbi_disease,bc5cdr_disease", metavar="A,B", help="of linking")
    parser.add_argument("--config", type=Path, default=RECIPE, metavar="CONFIG.toml", help="of the encoders")
    parser.add_argument("--set", action="append", metavar="TABLE.KEY=VALUE", help="of the config")
    parser.add_argument("--scale", type=float, default=1.0, help="of tokens, examples and epochs")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2, help="pieces at a time")
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("--report", type=Path, metavar="PAGE.md")
    options = parser.parse_args(arguments)
    if options.report:
        write_page(options.out / "records", options.report)
        return 0
    if options.data is None or options.task_data is None:
        parser.error("--data and --task-data are needed")
    prepare_cpu(None)
    p = protocol(options)
    if options.dry_run:
        total: dict[str, float] = {}
        for name, piece, cost in minutes(p):
            print(f"{cost:7.1f} min  {name:11}  {piece.path}")
            total[piece.study] = total.get(piece.study, 0.0) + cost
        for name, cost in total.items():
            print(f"{cost:7.0f} core-minutes: {name}")
        print(f"{sum(total.values()) / 60:.1f} core-hours, {p.jobs} pieces at a time with {p.threads} threads each")
        return 0
    missing = run(p, runner)
    print(f"tables: {p.out / 'related-methods.md'}")
    if missing:
        print(f"{len(missing)} pieces failed or could not start, {missing[0]} first: logs are in {p.out / 'logs'}")
    return bool(missing)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
