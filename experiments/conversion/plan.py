"""What the experiment does, in jobs: a leanformer command each, with the folder it makes and what it costs.

    teacher     pre-trained, unless one is given
    converted   the teacher in every mechanism, fitted to text of the training data; with shared heads
    trial       the rate of recovery: RATES times the teacher's, for `few`, at the middle budget
    trained     recovered by BUDGETS of the teacher's tokens; the same mechanism from scratch with the largest, and 4
                times that; methods of recovery; heads drawn together
    drawn       those heads, shared
    tasks       teacher, random values, converted, recovered
    exports     of the teacher and the recovered `few`

Three lists of mechanisms say how much is done: `every` is converted, recovered by all budgets, trained from scratch
with the largest one and four times that, and fine-tuned; `closely` are recovered with every seed by the largest, and
fine-tuned before recovery too; `few` try the methods and the rates and are exported. With `targets_only` no more is
done than to recover `closely` by the largest budget, at the teacher's own rate, and to fine-tune them, the teacher
and random values.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

from experiments.protocol import Experiment, ExperimentJob, command, read_result, slug
from leanformer.comparison.variants import Variant
from leanformer.settings import Settings

BUDGETS = (0.01, 0.03, 0.1)
"""Budgets of recovery, as fractions of the tokens that the teacher read."""
LARGEST = BUDGETS[-1]
RATES = (1.0, 0.3, 0.1)
"""Learning rates to try, as multiples of the teacher's."""
HEADS = tuple(product(("qk", "qkv"), (0.1, 0.3)))
"""Maps, and the share of their heads, that are shared."""
DRAWN = HEADS[-1]
METHODS: dict[str, tuple[str, ...]] = {
    "masked words alone": ("masked_lm_weight=1.0",),
    "MiniLM v2": ("method=minilm2",),
    "logits, gradual": ("anneal=0.5",),
}
"""Methods of recovery beside abrupt distillation by logits, by which all are recovered."""
LOGITS = "logits"
SEEDS_FROM = 10
"""Recovery and training from scratch take seeds behind this: other sequences than the teacher read first."""


@dataclass(frozen=True, kw_only=True)
class ConversionJob(ExperimentJob):
    """Its row is what it is, in results.json."""

    variant: Variant | None = None
    """The mechanism that is trained; none: the teacher's."""
    tokens: float = 0.0
    """The number of tokens that the job trains on."""
    seeds: int | None = None
    """The number of seeds of a fine-tuning that makes one folder per seed."""

    @property
    def verb(self) -> str:
        return self.arguments[0]

    @property
    def ready(self) -> bool:
        folders = [self.out / name for name in self.needs]
        return all((each / "config.json").exists() or (each / "model").exists() for each in folders)

    @property
    def products(self) -> tuple[Path, ...]:
        if self.verb in ("convert", "export"):
            return (self.directory / {"convert": "conversion.json", "export": "README.md"}[self.verb],)
        if self.seeds is not None:
            return tuple(self.directory / f"seed-{seed}" / "run.json" for seed in range(1, self.seeds + 1))
        return super().products


@dataclass(frozen=True, kw_only=True)
class Plan(Experiment):
    """The settings are those of the teacher and of fine-tuning."""

    tasks: tuple[str, ...]
    given: Path | None
    """A teacher that is there."""
    every: list[Variant]
    closely: list[Variant]
    few: list[Variant]
    targets_only: bool = False

    @property
    def teacher(self) -> str:
        return str(self.given or "teacher")

    @cached_property
    def tokens(self) -> int:
        """The number of tokens that the teacher reads."""
        if self.given is not None:
            return int(read_result(self.given / "run.json")["results"]["tokens"])
        training = self.settings.training
        step = training.batch_size * training.sequence_length
        return step * (training.steps(step) or 0)

    @property
    def rates(self) -> list[float]:
        return [self.settings.training.learning_rate * share for share in RATES]

    def rate(self) -> float | None:
        """The rate of least mean loss in the trial, the teacher's without a trial; None before the trial is over."""
        trials = self.stage("trial")
        if not trials:
            return self.rates[0]
        if not all(job.finished for job in trials):
            return None
        losses = dict.fromkeys(self.rates, 0.0)
        for job in trials:
            losses[job.row["learning_rate"]] += read_result(job.directory / "run.json")["results"]["final_loss"]
        return min(losses, key=lambda rate: losses[rate])

    def with_attention(self, variant: Variant | None) -> Settings:
        if variant is None:
            return self.settings
        own = {"attention": variant.mechanism, "attention_options": variant.options}
        return replace(self.settings, model={**self.settings.model, **own})

    def exported(self) -> dict[str, str]:
        return {"teacher": self.teacher} | {variant.label: recovered(variant, 1) for variant in self.few}

    def stage(self, name: str) -> list[ConversionJob]:
        return [job for job in super().stage(name) if not self.targets_only or _for_targets(job.row)]

    def job(self, path: str, row: dict[str, Any], arguments: tuple[str, ...], *needs: str, **more: Any) -> Any:
        return ConversionJob(**self.place(path), row=row, arguments=arguments, needs=needs, **more)

    def pretraining(self) -> Iterator[ConversionJob]:
        if self.given is None:
            settings = [f"training.threads={self.threads * self.jobs}"]
            yield self._pretrain("teacher", "settings.json", settings, tokens=self.tokens, kind="teacher")

    def conversions(self) -> Iterator[ConversionJob]:
        for variant in self.every:
            how = {"attention": variant.mechanism, "set": _options(variant, "attention_options")}
            yield self._convert(converted(variant), self.teacher, how, kind="converted", attention=variant.label)
        for tie, share in HEADS:
            yield self._share(f"shared/{tie}-{share}", self.teacher, kind="shared heads", tie=tie, share=share)

    def trials(self) -> Iterator[ConversionJob]:
        for variant, rate in product(self.few, self.rates):
            path = f"trial/{slug(variant.label)}/{rate:.3g}"
            yield self._distill(
                path, converted(variant), rate, variant,
                kind="trial", attention=variant.label, budget=BUDGETS[1], learning_rate=rate,
            )  # fmt: skip

    def training(self) -> Iterator[ConversionJob]:
        rate = self.rate() or self.rates[1]
        for seed in range(1, self.seeds + 1):
            for variant in self.every if seed == 1 else self.closely:
                yield self._recover(variant, rate, seed=seed)
        yield self._distill("healed/teacher", self.teacher, rate, kind="teacher, trained on", budget=LARGEST)
        for times, variant in product((1, 4), self.every):
            tokens = times * round(LARGEST * self.tokens)
            settings = [f"model.attention={variant.mechanism}", f"training.max_tokens={tokens}"]
            settings += _options(variant, "model.attention_options")
            settings += [f"training.seed={SEEDS_FROM + 1}", f"training.threads={self.threads}"]
            yield self._pretrain(
                f"scratch/{slug(variant.label)}/{times}x", "scratch.json", settings, variant, tokens,
                kind="scratch", attention=variant.label, budget=LARGEST * times, seed=1,
            )  # fmt: skip
        for budget, variant in product(BUDGETS[:-1], self.every):
            yield self._recover(variant, rate, budget=budget)
        for method, variant in product(METHODS, self.few):
            yield self._recover(variant, rate, method=method)
        for tie, share in HEADS:
            path, row = f"{tie}-{share}", {"kind": "shared heads, healed", "tie": tie, "share": share}
            yield self._distill(f"healed/{path}", f"shared/{path}", rate, **row, budget=LARGEST)
        row = {"kind": "heads drawn together", "tie": DRAWN[0], "share": DRAWN[1]}
        drawn = [f"distillation.share_heads={DRAWN[1]}"]
        yield self._distill("drawn/run", self.teacher, rate, None, drawn, **row, budget=LARGEST)

    def drawing(self) -> Iterator[ConversionJob]:
        tie, share = DRAWN
        yield self._share("drawn/shared", "drawn/run", kind="drawn together, then shared", tie=tie, share=share)

    def finetuning(self) -> Iterator[ConversionJob]:
        """Yields fine-tunings; where there is one model of a kind, all seeds run in one process."""
        seeds = range(1, self.seeds + 1)
        for task in self.tasks:
            yield self._finetune("teacher", self.teacher, task, kind="teacher")
            for seed in seeds:
                yield self._finetune("random", f"random/seed-{seed}", task, seed, kind="random")
            for variant in self.every:
                name, what = f"healed/{slug(variant.label)}", {"kind": "healed", "attention": variant.label}
                for seed in seeds if variant in self.closely else [None]:
                    yield self._finetune(name, recovered(variant, seed or 1), task, seed, variant, **what)
        for task, variant in product(self.tasks, self.closely):
            name = converted(variant)
            yield self._finetune(name, name, task, None, variant, kind="converted", attention=variant.label)

    def exporting(self) -> Iterator[ConversionJob]:
        for (name, run), format in product(self.exported().items(), ("hub", "onnx")):
            path = f"exports/{slug(name)}/{format}"
            arguments = command("export", self.out / run, self.out / path, format=format, int8=format == "onnx")
            yield self.job(path, {"kind": "export", "model": name}, arguments, run)

    def _pretrain(
        self, path: str, config: str, settings: list[str], variant: Variant | None = None, tokens: float = 0, **row: Any
    ) -> ConversionJob:
        where = {"data": self.data, "out": self.out / path}
        arguments = command("pretrain", self.out / config, **where, set=settings, quiet=True)
        return self.job(path, row, arguments, variant=variant, tokens=tokens)

    def _convert(self, path: str, source: str, how: dict[str, Any], **row: Any) -> ConversionJob:
        text = self.out / "sample.txt"
        arguments = command("convert", self.out / source, self.out / path, **how, text=text, quiet=True)
        return self.job(path, row, arguments, source)

    def _share(self, path: str, source: str, **row: Any) -> ConversionJob:
        return self._convert(path, source, {"share_heads": row["share"], "tie": row["tie"]}, **row)

    def _recover(
        self, variant: Variant, rate: float, seed: int = 1, budget: float = LARGEST, method: str = LOGITS
    ) -> ConversionJob:
        row = {"kind": "healed", "attention": variant.label, "method": method, "budget": budget, "seed": seed}
        how = [f"distillation.{setting}" for setting in METHODS.get(method, ())]
        path = recovered(variant, seed, budget, method)
        return self._distill(path, converted(variant), rate, variant, how, **row)

    def _distill(
        self, path: str, student: str, rate: float, variant: Variant | None = None, how: Sequence[str] = (), **row: Any
    ) -> ConversionJob:
        tokens, training = round(row["budget"] * self.tokens), self.settings.training
        steps = max(1, tokens // (training.batch_size * training.sequence_length))
        every = max(1, steps // (10 if row["budget"] == LARGEST else 2))
        settings = [f"training.max_tokens={tokens}", f"training.learning_rate={rate!r}"]
        settings += [f"training.threads={self.threads}", f"training.seed={SEEDS_FROM + row.get('seed', 1)}"]
        where = {"teacher": self.out / self.teacher, "data": self.data, "out": self.out / path}
        arguments = command(
            "distill", self.out / student, **where, config=self.out / "healing.json",
            set=[*settings, f"training.validate_every={every}", *how], quiet=True,
        )  # fmt: skip
        return self.job(path, row, arguments, student, self.teacher, variant=variant, tokens=tokens)

    def _finetune(
        self, name: str, model: str, task: str, seed: int | None = None, variant: Variant | None = None, **row: Any
    ) -> ConversionJob:
        """Returns a fine-tuning with all seeds, or with the given one."""
        path = f"tasks/{name}/{task}" + (f"/seed-{seed}" if seed else "")
        seeds = None if seed else self.seeds
        where = {"task": task, "task_data": self.task_data, "out": self.out / path}
        settings = [f"finetuning.threads={self.threads}", *([f"finetuning.seed={seed}"] if seed else [])]
        arguments = command(
            "finetune", self.out / model, **where, config=self.out / "settings.json", discard_model=True, quiet=True,
            seeds=seeds, set=settings,
        )  # fmt: skip
        return self.job(path, {**row, "task": task}, arguments, model, variant=variant, seeds=seeds)

    stages = dict(
        teacher=pretraining, converted=conversions, trial=trials, trained=training, drawn=drawing, tasks=finetuning,
        exports=exporting,
    )  # fmt: skip
    alone = "teacher"
    page = "report.md"


def converted(variant: Variant) -> str:
    return f"converted/{slug(variant.label)}"


def recovered(variant: Variant, seed: int, budget: float = LARGEST, method: str = LOGITS) -> str:
    return f"healed/{slug(variant.label)}/{slug(method)}/{budget}/seed-{seed}"


def _options(variant: Variant, table: str) -> list[str]:
    return [f"{table}.{key}={json.dumps(value)}" for key, value in variant.options.items()]


def _for_targets(row: dict[str, Any]) -> bool:
    if row.get("budget", LARGEST) != LARGEST or row.get("method", LOGITS) != LOGITS:
        return False
    return row["kind"] in ("teacher", "random", "healed") or (row["kind"] == "converted" and "task" not in row)
