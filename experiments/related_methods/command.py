"""Six neighbouring systems beside what is usual, each on its own ground: the whole protocol, about nine core-hours.

    python -m experiments related-methods --data DATA --task-data TASKS --out OUT [--studies convbert,pst] [--seeds 3]
    python -m experiments related-methods --data DATA --task-data TASKS --out OUT --dry-run
    python -m experiments related-methods --out OUT --report PAGE.md

DATA is a directory of `leanformer prepare`; TASKS holds a folder a task, and entity_linking with a folder a corpus and
the dictionary (or --linking-data). `plan.py` says what is done, job by job, and the same command goes
on with what is left. The dry run prints the core-minutes of every job. --scale 0.02 tries the whole in minutes.

OUT/records/STUDY.json holds every number, OUT/related-methods.md the tables, both anew after every stage; --report
makes the tables from the records alone.
"""

from pathlib import Path

from experiments.protocol import Workers, fields, in_tokens, parser, task_reading
from experiments.related_methods.page import write_page
from experiments.related_methods.plan import STUDIES, MethodJob, Plan, marker, sizes
from experiments.related_methods.records import write as write_records
from leanformer.files import write_json
from leanformer.linking.settings import KINDS
from leanformer.settings import read_settings
from leanformer.study.estimate import process_seconds

RECIPE = Path(__file__).parents[2] / "configs" / "recipes" / "fast.toml"
SPARSE, SHORT = 1.35, 1.7
"""Times the seconds of plain fine-tuning, and times what its FLOPs would take: batches are small. From a trial."""
ROUND_SECONDS = 75.0
"""Core-seconds of one round over all lengths and mixers."""
EPOCH_SECONDS = {"transformer": 21.0, "rescnn": 11.0}
"""Seconds of one epoch of entity linking, per corpus."""
INDEX_SECONDS = 40.0
"""Seconds for the vectors of a dictionary's names, per encoder."""


class RelatedMethods(Plan):
    def prepare(self) -> None:
        """More studies and seeds are welcome."""
        lists = {name: list(getattr(self, name)) for name in ("glue", "texts", "corpora")}
        self.begin("data, tasks or scale", sizes=self.sizes, **lists)
        (self.out / "finished").mkdir(exist_ok=True)

    def ended(self, job: MethodJob, why: str | None, seconds: float) -> None:
        if why is None:
            write_json(marker(self.out, job.name), {"seconds": seconds, "arguments": list(job.arguments)})

    def after(self, stage: str, missing: list[str]) -> None:
        write_records(self, missing)
        write_page(self.out / "records", self.out / self.page)

    def group(self, stage: str, job: MethodJob) -> str:
        return job.study

    def seconds(self, job: MethodJob, speed: float) -> float:
        work, row = job.work, job.row
        if "tokens" in work:
            runs = work.get("runs", 1)
            return work["tokens"] * self.flops()["training"] / speed + runs * process_seconds()
        if "rounds" in work:
            return (2 + work["rounds"]) * ROUND_SECONDS
        if "corpus" in row:
            each = {kind: row["epochs"][kind] * EPOCH_SECONDS[kind] + INDEX_SECONDS for kind in KINDS}
            learned = sum(work[kind] * each[kind] for kind in KINDS) + work["others"] * INDEX_SECONDS
            return process_seconds() + work["seeds"] * learned
        read = task_reading(row["task"], self.task_data, work["length"], row["examples"], self.sizes["judged"])
        kept = sum(work["imbalance"] ** -share for share in (0.0, 0.5, 1.0)) / 3
        tokens = SHORT * read.training(kept * row["epochs"])
        methods = sum(SPARSE if "method=" in " ".join(own) else 1.0 for own in row["ways"].values())
        return process_seconds() + work["seeds"] * methods * (tokens * self.flops(length=32)["training"] / speed + 1.0)


def main(arguments: list[str], executor: Workers | None = None) -> int:
    known = parser("related-methods", __doc__, RECIPE)
    known.add_argument("--linking-data", type=Path, metavar="DIR", help="TASKS/entity_linking")
    known.add_argument("--studies", default=",".join(STUDIES), metavar="A,B", help=", ".join(STUDIES))
    known.add_argument("--glue", default="sst2,qqp,stsb", metavar="A,B", help="tasks of pst")
    known.add_argument("--texts", default="trec,ag_news", metavar="A,B", help="tasks of regsl and absgd")
    known.add_argument("--corpora", default="ncbi_disease,bc5cdr_disease", metavar="A,B", help="of linking")
    known.add_argument("--scale", type=float, default=1.0, help="of tokens, examples and epochs")
    known.add_argument("--report", type=Path, metavar="PAGE.md")
    options = known.parse_args(arguments)
    if options.report:
        write_page(options.out / "records", options.report)
        return 0

    lists = {name: tuple(getattr(options, name).split(",")) for name in ("studies", "glue", "texts", "corpora")}
    for name in lists["studies"]:
        if name not in STUDIES:
            raise ValueError(f"--studies {name}: known are {', '.join(STUDIES)}")
    where = fields(options)
    linking = (options.linking_data or options.task_data / "entity_linking").absolute()
    settings = in_tokens(read_settings(options.config, options.set or ()))
    p = RelatedMethods(**where, linking_data=linking, settings=settings, sizes=sizes(options.scale), **lists)
    return p.carry_out(options.dry_run, executor)
