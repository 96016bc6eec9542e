"""What the protocol does, in jobs: a leanformer command each, with the folder it makes and what it costs.

A stage needs what the stages before it made; its jobs need nothing of each other, the most telling first.

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
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from experiments.protocol import Experiment, sets, slug
from leanformer.comparison.variants import Variant
from leanformer.study.job import Job

BUDGETS = (0.01, 0.03, 0.1)
"""Of the tokens that the teacher read."""
RATES = (1.0, 0.3, 0.1)
"""Of its learning rate."""
SHARES, TIES = (0.1, 0.3), ("qk", "qkv")
METHODS: dict[str, tuple[str, ...]] = {
    "masked words alone": ("masked_lm_weight=1.0",),
    "MiniLM v2": ("method=minilm2",),
    "logits, gradual": ("anneal=0.5",),
}
"""Beside distillation by logits, abrupt, by which all are recovered."""
LOGITS = "logits"
SEEDS_FROM = 10
"""Healing and training from scratch take seeds behind this: other sequences than the teacher read first."""
STAGES = ("teacher", "converted", "trial", "trained", "drawn", "tasks", "exports")


@dataclass(frozen=True, kw_only=True)
class ConversionJob(Job):
    """Its name is its folder in OUT."""

    row: dict[str, Any] = field(hash=False)
    """What it is, in results.json."""
    needs: tuple[Path, ...] = ()
    """Folders of models and runs."""
    variant: Variant | None = None
    """The mechanism that is trained; none: the teacher's."""
    tokens: float = 0.0
    """Of training; of a task those of all seeds."""
    seeds: int | None = None
    """Of a fine-tuning that makes a folder a seed."""

    @property
    def verb(self) -> str:
        return self.arguments[0]

    @property
    def ready(self) -> bool:
        return all((each / "config.json").exists() or (each / "model").exists() for each in self.needs)

    @property
    def products(self) -> tuple[Path, ...]:
        if self.verb in ("convert", "export"):
            return (self.directory / {"convert": "conversion.json", "export": "README.md"}[self.verb],)
        if self.seeds is not None:
            return tuple(self.directory / f"seed-{seed}" / "run.json" for seed in range(1, self.seeds + 1))
        return super().products


@dataclass(frozen=True, kw_only=True)
class Protocol(Experiment):
    """The settings are those of the teacher and of fine-tuning."""

    tasks: tuple[str, ...]
    given: Path | None
    """A teacher that is there."""
    every: list[Variant]
    closely: list[Variant]
    few: list[Variant]
    targets_only: bool = False

    def job(self, path: str, arguments: tuple[str, ...], row: dict[str, Any], **more: Any) -> ConversionJob:
        return ConversionJob(**self.place(path), arguments=arguments, row=row, **more)

    @property
    def teacher(self) -> Path:
        return self.given or self.out / "teacher"

    @cached_property
    def tokens(self) -> int:
        """That the teacher reads."""
        if self.given is not None:
            return int(json.loads((self.given / "run.json").read_text(encoding="utf-8"))["results"]["tokens"])
        training = self.settings.training
        step = training.batch_size * training.sequence_length
        return step * (training.steps(step) or 0)

    def budget(self, share: float) -> int:
        return round(share * self.tokens)

    @property
    def rates(self) -> list[float]:
        return [self.settings.training.learning_rate * share for share in RATES]

    def rate(self) -> float | None:
        """That of the least mean loss in the trial, the teacher's if there is none; None before the trial is over."""
        trials = stage(self, "trial")
        if not trials:
            return self.rates[0]
        if not all(job.finished for job in trials):
            return None
        losses: dict[float, float] = {}
        for job in trials:
            record = json.loads((job.directory / "run.json").read_text(encoding="utf-8"))
            rate = job.row["learning_rate"]
            losses[rate] = losses.get(rate, 0.0) + record["results"]["final_loss"]
        return min(losses, key=lambda rate: losses[rate])


def stage(protocol: Protocol, name: str) -> list[ConversionJob]:
    jobs = list(MAKERS[name](protocol))
    return [job for job in jobs if _for_targets(job.row)] if protocol.targets_only else jobs


def _for_targets(row: dict[str, Any]) -> bool:
    if row.get("budget", BUDGETS[-1]) != BUDGETS[-1] or row.get("method", LOGITS) != LOGITS:
        return False
    return row["kind"] in ("teacher", "random", "healed") or (row["kind"] == "converted" and "task" not in row)


def _teacher(p: Protocol) -> Iterator[ConversionJob]:
    if p.given is None:
        arguments = ("pretrain", str(p.out / "settings.json"), "--data", str(p.data))
        arguments += ("--out", str(p.teacher), "--set", f"training.threads={p.threads * p.jobs}", "--quiet")
        yield p.job("teacher", arguments, {"kind": "teacher"}, tokens=p.tokens)


def _converted(p: Protocol) -> Iterator[ConversionJob]:
    for variant in p.every:
        options = [f"attention_options.{key}={json.dumps(value)}" for key, value in variant.options.items()]
        yield _conversion(p, converted(variant), p.teacher, {"kind": "converted", "attention": variant.label},
                          "--attention", variant.mechanism, *sets(options))  # fmt: skip
    for tie in TIES:
        for share in SHARES:
            row = {"kind": "shared heads", "tie": tie, "share": share}
            yield _conversion(p, f"shared/{tie}-{share}", p.teacher, row, "--share-heads", str(share), "--tie", tie)


def _trial(p: Protocol) -> Iterator[ConversionJob]:
    for variant in p.few:
        for rate in p.rates:
            row = {"kind": "trial", "attention": variant.label, "budget": BUDGETS[1], "learning_rate": rate}
            yield _distillation(p, f"trial/{slug(variant.label)}/{rate:.3g}", p.out / converted(variant), row, variant)


def _trained(p: Protocol) -> Iterator[ConversionJob]:
    for seed in range(1, p.seeds + 1):
        for variant in p.every if seed == 1 else p.closely:
            yield _healing(p, variant, BUDGETS[-1], seed)
    yield _distillation(p, "healed/teacher", p.teacher, {"kind": "teacher, trained on", "budget": BUDGETS[-1]}, None)
    for times in (1, 4):
        for variant in p.every:
            yield _scratch(p, variant, times)
    for budget in BUDGETS[:-1]:
        for variant in p.every:
            yield _healing(p, variant, budget, 1)
    for method in METHODS:
        for variant in p.few:
            yield _healing(p, variant, BUDGETS[-1], 1, method)
    for tie in TIES:
        for share in SHARES:
            row = {"kind": "shared heads, healed", "tie": tie, "share": share, "budget": BUDGETS[-1]}
            yield _distillation(p, f"healed/{tie}-{share}", p.out / f"shared/{tie}-{share}", row, None)
    row = {"kind": "heads drawn together", "tie": "qkv", "share": SHARES[-1], "budget": BUDGETS[-1]}
    yield _distillation(p, "drawn/run", p.teacher, row, None, f"distillation.share_heads={SHARES[-1]}")


def _drawn(p: Protocol) -> Iterator[ConversionJob]:
    row = {"kind": "drawn together, then shared", "tie": "qkv", "share": SHARES[-1]}
    yield _conversion(p, "drawn/shared", p.out / "drawn/run", row, "--share-heads", str(SHARES[-1]), "--tie", "qkv")


def _tasks(p: Protocol) -> Iterator[ConversionJob]:
    """Of models that there is one of, all seeds of fine-tuning in one process."""
    for task in p.tasks:
        yield _finetuning(p, "teacher", p.teacher, {"kind": "teacher"}, task, p.seeds)
        for seed in range(1, p.seeds + 1):
            yield _finetuning(p, "random", p.out / f"random/seed-{seed}", {"kind": "random"}, task, None, seed)
        for variant in p.every:
            name, row = f"healed/{slug(variant.label)}", {"kind": "healed", "attention": variant.label}
            if variant not in p.closely:
                yield _finetuning(p, name, recovered(p, variant, 1), row, task, p.seeds, variant=variant)
                continue
            for seed in range(1, p.seeds + 1):
                yield _finetuning(p, name, recovered(p, variant, seed), row, task, None, seed, variant)
    for task in p.tasks:
        for variant in p.closely:
            row = {"kind": "converted", "attention": variant.label}
            yield _finetuning(p, converted(variant), p.out / converted(variant), row, task, p.seeds, variant=variant)


def _exports(p: Protocol) -> Iterator[ConversionJob]:
    for name, run in exported(p).items():
        for format, options in (("hub", ()), ("onnx", ("--int8",))):
            path = f"exports/{slug(name)}/{format}"
            arguments = ("export", str(run), str(p.out / path), "--format", format, *options)
            yield p.job(path, arguments, {"kind": "export", "model": name}, needs=(run,))


MAKERS = dict(zip(STAGES, (_teacher, _converted, _trial, _trained, _drawn, _tasks, _exports), strict=True))


def converted(variant: Variant) -> str:
    return f"converted/{slug(variant.label)}"


def recovered(p: Protocol, variant: Variant, seed: int) -> Path:
    """With the largest budget."""
    return p.out / f"healed/{slug(variant.label)}/{LOGITS}/{BUDGETS[-1]}/seed-{seed}"


def exported(p: Protocol) -> dict[str, Path]:
    return {"teacher": p.teacher} | {variant.label: recovered(p, variant, 1) for variant in p.few}


def _healing(p: Protocol, variant: Variant, budget: float, seed: int, method: str = LOGITS) -> ConversionJob:
    path = f"healed/{slug(variant.label)}/{slug(method)}/{budget}/seed-{seed}"
    row = {"kind": "healed", "attention": variant.label, "method": method, "budget": budget, "seed": seed}
    more = [f"distillation.{setting}" for setting in METHODS.get(method, ())]
    return _distillation(p, path, p.out / converted(variant), row, variant, *more)


def _scratch(p: Protocol, variant: Variant, times: int) -> ConversionJob:
    tokens, path = times * p.budget(BUDGETS[-1]), f"scratch/{slug(variant.label)}/{times}x"
    settings = [f"model.attention={variant.mechanism}", f"training.max_tokens={tokens}"]
    settings += [f"model.attention_options.{key}={json.dumps(value)}" for key, value in variant.options.items()]
    settings += [f"training.seed={SEEDS_FROM + 1}", f"training.threads={p.threads}"]
    arguments = ("pretrain", str(p.out / "scratch.json"), "--data", str(p.data), "--out", str(p.out / path))
    row = {"kind": "scratch", "attention": variant.label, "budget": BUDGETS[-1] * times, "seed": 1}
    arguments += (*sets(settings), "--quiet")
    return p.job(path, arguments, row, variant=variant, tokens=tokens)


def _distillation(
    p: Protocol, path: str, student: Path, row: dict, variant: Variant | None, *more: str
) -> ConversionJob:
    tokens, training = p.budget(row["budget"]), p.settings.training
    rate = row.get("learning_rate") or p.rate() or p.rates[1]
    steps = max(1, tokens // (training.batch_size * training.sequence_length))
    settings = [f"training.max_tokens={tokens}", f"training.learning_rate={rate!r}", f"training.threads={p.threads}"]
    settings += [f"training.seed={SEEDS_FROM + row.get('seed', 1)}"]
    settings += [f"training.validate_every={max(1, steps // (10 if row['budget'] == BUDGETS[-1] else 2))}", *more]
    arguments = ("distill", str(student), "--teacher", str(p.teacher), "--data", str(p.data))
    arguments += ("--out", str(p.out / path), "--config", str(p.out / "healing.json"), *sets(settings), "--quiet")
    needs = (student, p.teacher)
    return p.job(path, arguments, row, needs=needs, variant=variant, tokens=tokens)


def _conversion(p: Protocol, path: str, source: Path, row: dict[str, Any], *options: str) -> ConversionJob:
    arguments = ("convert", str(source), str(p.out / path), *options, "--text", str(p.out / "sample.txt"), "--quiet")
    return p.job(path, arguments, row, needs=(source,))


def _finetuning(
    p: Protocol, name: str, model: Path, row: dict[str, Any], task: str, seeds: int | None, seed: int = 1,
    variant: Variant | None = None,
) -> ConversionJob:  # fmt: skip
    path = f"tasks/{name}/{task}" + ("" if seeds else f"/seed-{seed}")
    arguments = ("finetune", str(model), "--task", task, "--task-data", p.task_data, "--out", str(p.out / path))
    arguments += ("--config", str(p.out / "settings.json"), "--discard-model", "--quiet")
    arguments += ("--seeds", str(seeds)) if seeds else ()
    settings = [f"finetuning.threads={p.threads}", *([] if seeds else [f"finetuning.seed={seed}"])]
    row = {**row, "task": task}
    arguments += sets(settings)
    return p.job(path, arguments, row, needs=(model,), variant=variant, seeds=seeds)
