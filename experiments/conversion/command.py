"""What converting a trained model's attention costs, and how far distillation recovers it: hours.

    python -m experiments conversion --data DATA --task-data TASKS --out OUT [--config CONFIG.toml | --teacher RUN]
    python -m experiments conversion --data DATA --task-data TASKS --out OUT --closely pairwise,shared --targets-only
    python -m experiments conversion --data DATA --task-data TASKS --out OUT --dry-run
    python -m experiments conversion --out OUT --report

DATA is a directory of `leanformer prepare`, TASKS a folder with one folder per task. `plan.py` says what is done, job
by job, and the same command goes on with what is left. The dry run prints the core-minutes of every job.

OUT/results.json holds every number, OUT/report.md the tables, both anew after every stage; --report makes the tables
from results.json alone.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from experiments.conversion.plan import ConversionJob, Plan
from experiments.conversion.results import write_report, write_results
from experiments.protocol import Workers, fields, in_tokens, parser, read_result
from leanformer.comparison.variants import sized_variants
from leanformer.data.tokenizer_files import load as load_tokenizer
from leanformer.files import write_json, write_text
from leanformer.models import LeanformerForMaskedLM
from leanformer.models.initialisation import initialise
from leanformer.settings import Settings, read_settings, settings_from
from leanformer.study.estimate import process_seconds
from leanformer.training.objectives.table import model_config
from leanformer.training.run.saved_model import save

CONFIG = Path(__file__).parents[2] / "configs" / "teacher.toml"
CLOSELY = "pairwise,phased,shared,phased[projection=shared_all]"
LISTS = {
    "every": f"{CLOSELY},symmetric,pairwise[projection=shared_all],random+symmetric,random",
    "closely": CLOSELY,
    "few": "pairwise,shared",
}
SAMPLE = 400
"""Sequences of the training data that conversions are fitted to: the first 256 of them, and some to spare."""
SECONDS = {"convert": 40.0, "export": 60.0}
"""The approximate seconds of jobs that train nothing."""


class Conversion(Plan):
    def prepare(self) -> None:
        """What no command makes: settings, a text of the training data, models of random values."""
        self.begin("data or teacher", teacher=self.given and str(self.given))
        training = {"training": asdict(in_tokens(self.settings).training)}
        write_json(self.out / "scratch.json", {"model": dict(self.settings.model), **training})
        write_json(self.out / "healing.json", training)
        text, length = self.corpus.train, self.settings.training.sequence_length
        tokenizer = load_tokenizer(self.data)
        ids = text.batch(range(min(SAMPLE, text.sequences(length))), length)
        texts = (tokenizer.decode(row.tolist(), skip_special_tokens=True) for row in ids)
        write_text(self.out / "sample.txt", "\n\n".join(texts) + "\n")
        for seed in range(1, self.seeds + 1):
            folder = self.out / f"random/seed-{seed}/model"
            if not folder.exists():
                model = LeanformerForMaskedLM(model_config(self.settings, self.corpus))
                initialise(model, seed)
                folder.parent.mkdir(parents=True, exist_ok=True)
                save(model, self.corpus.tokenizer_files, folder)

    def after(self, stage: str, missing: list[str]) -> None:
        if stage == "trial" and self.rate() is None:
            raise ValueError(f"the trial of rates is not complete ({missing[0]}): logs are in {self.out / 'logs'}")
        write_results(self, missing)
        write_report(self.out)

    def seconds(self, job: ConversionJob, speed: float) -> float:
        """The trial's rate, if open, is the middle one. A student's teacher reads along."""
        settings = self.with_attention(job.variant)
        if job.verb == "finetune":
            tokens = (job.seeds or 1) * self.finetuning_tokens(job.row["task"])
            return tokens * self.flops(settings, 32)["training"] / speed + process_seconds()
        flops = self.flops(settings)["training"] + (self.flops()["forward"] if job.verb == "distill" else 0)
        return job.tokens * flops / speed + SECONDS.get(job.verb, process_seconds())


def settings_of(options: Any) -> Settings:
    """Returns the settings of the teacher, with the config's fine-tuning."""
    if options.teacher is None:
        return read_settings(options.config, options.set or ())
    record = read_result(options.teacher / "run.json")
    if record["status"] != "finished" or record["attention"] != "dot_product":
        raise ValueError(f"--teacher {options.teacher}: not a finished run with dot_product attention")
    own = {table: record["settings"][table] for table in ("model", "training")}
    return settings_from(own | {"finetuning": read_settings(options.config).to_dict()["finetuning"]})


def main(arguments: list[str], executor: Workers | None = None) -> int:
    known = parser("conversion", __doc__, CONFIG)
    known.add_argument("--tasks", default="sst2,mrpc,rte,cola")
    known.add_argument("--teacher", type=lambda run: Path(run).resolve(), metavar="RUN", help="finished, not a new one")
    for name, default in LISTS.items():
        known.add_argument(f"--{name}", default=default, metavar="NAMES", help=f"mechanisms: {default}")
    known.add_argument("--targets-only", action="store_true", help="distill and fine-tune --closely, nothing else")
    known.add_argument("--report", action="store_true")
    options = known.parse_args(arguments)
    if options.report:
        write_report(options.out)
        return 0

    lists = {name: sized_variants(getattr(options, name)) for name in LISTS}
    for shorter, longer in (("closely", "every"), ("few", "closely")):
        for variant in lists[shorter]:
            if variant not in lists[longer]:
                raise ValueError(f"--{shorter} names {variant.label}, which the longer list does not")
    if options.targets_only:
        lists |= {"every": lists["closely"], "few": []}
    p = Conversion(
        **fields(options), tasks=tuple(options.tasks.split(",")), settings=settings_of(options), given=options.teacher,
        targets_only=options.targets_only, **lists,
    )  # fmt: skip
    for variant in p.every:
        model_config(p.with_attention(variant), p.corpus)
    return p.carry_out(options.dry_run, executor)
