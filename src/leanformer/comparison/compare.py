"""A whole comparison: what is asked becomes a plan, which is checked and then carried out (`carrying_out.py`)."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

from leanformer import progress
from leanformer.comparison.budget import planned
from leanformer.comparison.carrying_out import carry_out, listed_runs
from leanformer.comparison.choosing import tuning_seeds_of, tuning_tokens_of, with_choice
from leanformer.comparison.continuing import check_continues, check_runs, directory_of
from leanformer.comparison.estimate import objective_of
from leanformer.comparison.matching import matched
from leanformer.comparison.plan import Plan, default_baseline
from leanformer.comparison.variants import Variant
from leanformer.comparison.written_plan import check_amends
from leanformer.data.corpus import Prepared
from leanformer.data.examples import load
from leanformer.data.generation_tasks import require_packages
from leanformer.data.pairs import PairCorpus
from leanformer.data.tasks import task as find_task
from leanformer.reporting.numbers.margins import MARGIN, TASK_MARGIN
from leanformer.settings import Settings
from leanformer.spelling import suggest
from leanformer.study.execution import WHOLE, Execution
from leanformer.training.objectives.protocol import PretrainingObjective
from leanformer.training.objectives.table import OBJECTIVES, model_config
from leanformer.training.run.record import RunDirectory
from leanformer.training.run.score_points import check_reached


def compare(
    settings: Settings,
    data: Path,
    out: Path,
    *,
    variants: list[Variant],
    seeds: list[int],
    seconds: float | None = None,
    tokens: int | None = None,
    keep: Collection[str] = (),
    learning_rates: list[float] | None = None,
    tuning_seeds: list[int] | None = None,
    tuning_tokens: int | None = None,
    margin: float = MARGIN,
    task_margin: float = TASK_MARGIN,
    baseline: str | None = None,
    main: list[str] | None = None,
    tasks: list[str] | None = None,
    task_data: str | None = None,
    task_seeds: int = 1,
    execution: Execution | None = None,
    plugin: Path | None = None,
    resume: bool = False,
    dry_run: bool = False,
    keep_models: bool = True,
    quiet: bool = False,
    command: str = "",
) -> dict[str, Any]:
    """Run what is still to run of the comparison in `out`, then write its report; returns the report's results.

    With `seconds` or `tokens`, a budget of each run, the settings are a recipe, which is planned for it except for the
    settings that `keep` names (`training.budget`). With `learning_rates` every arm is tried at each of them on the
    `tuning_seeds`, for `tuning_tokens` if given, and reported at the best one. `margin` (nats), `task_margin` (a
    fraction), `baseline` and `main` (labels of the baseline and of the main contrast) are written down beforehand.
    """
    execution = execution or Execution()
    kind = OBJECTIVES[settings.training.objective]
    corpus, said = kind.open(data), ""
    if seconds is not None or tokens is not None:
        _, threads = execution.share(len(variants) * len(seeds), settings.training.threads)
        settings, said = planned(settings, corpus, out, seconds=seconds, tokens=tokens, keep=keep, threads=threads)
    variants, matches = matched(variants, settings, corpus)
    plan = Plan(
        settings=settings,
        variants=variants,
        seeds=seeds,
        learning_rates=learning_rates,
        tuning_seeds=tuning_seeds_of(out, seeds, learning_rates, tuning_seeds),
        tuning_tokens=tuning_tokens_of(out, settings.training, learning_rates, tuning_tokens),
        margin=margin,
        task_margin=task_margin,
        named_baseline=_baseline(variants, baseline),
        main=_main(variants, main, baseline),
        tasks=_tasks(settings, corpus, tasks or [], task_seeds),
        task_seeds=task_seeds,
        task_data=task_data,
        data={"path": str(data), "hash": corpus.hash, "tokenizer_hash": corpus.tokenizer_hash},
        plugin=None if plugin is None else str(plugin),
        command=command,
    )
    objective, notes = _check(plan, corpus)
    console = progress.console(quiet=quiet)
    if said:
        console.print(said)
    for note in [*matches, *notes]:
        console.print(f"note: {note}")

    def begin() -> Plan:
        check_continues(out, plan, resume=resume or (execution.shard != WHOLE and directory_of(out).record.exists()))
        execution.require_no_queue(out)
        chosen = with_choice(out, plan)
        check_runs(out, chosen, corpus)
        finished = any(RunDirectory(out / run["path"]).finished for run in listed_runs(out))
        check_amends(out, chosen, finished=finished)
        return chosen

    return carry_out(
        begin,
        corpus,
        objective,
        out,
        execution,
        dry_run=dry_run,
        keep_models=keep_models,
        console=console,
    )


def _baseline(variants: list[Variant], asked: str | None) -> str | None:
    """The label, if one is asked for. ValueError for one that is no arm."""
    labels = [variant.label for variant in variants]
    if asked is not None and asked not in labels:
        raise ValueError(f"--baseline {asked}: no such arm; {suggest(asked, labels)}")
    return asked


def _main(variants: list[Variant], asked: list[str] | None, baseline: str | None) -> list[str] | None:
    """The labels in the order of the arms. ValueError for one that is no arm, or the baseline."""
    if asked is None:
        return None
    labels = [variant.label for variant in variants]
    for label in asked:
        if label not in labels:
            raise ValueError(f"--main {label}: no such arm; {suggest(label, labels)}")
        if label == (baseline or default_baseline(labels)):
            raise ValueError(f"--main {label} is the baseline, which all others are compared with: leave it out")
    return [label for label in labels if label in asked]


def _tasks(settings: Settings, data: Prepared, asked: list[str], seeds: int) -> list[str]:
    """What follows each pre-training run: fine-tuning as asked; of models that write, the task they were trained on."""
    objective = settings.training.objective
    if objective == "causal_lm" and asked:
        raise ValueError('--task: a run with training.objective = "causal_lm" is not fine-tuned; leave it out')
    if not isinstance(data, PairCorpus):
        return asked
    if asked not in ([], [data.task]):
        raise ValueError(f"--task {','.join(asked)}: {data.path} holds {data.task}, only that is scored; leave it out")
    if seeds != 1:
        raise ValueError(f"--task-seeds {seeds}: beam search takes no chances; leave it out")
    require_packages(data.kind)
    return [data.task]


def _check(plan: Plan, corpus: Prepared) -> tuple[PretrainingObjective, list[str]]:
    """Find mistakes before the first run starts rather than in the last; what is to be known of the tasks' data."""
    if not plan.seeds:
        raise ValueError("--seeds must be at least 1")
    if plan.learning_rates and len(set(plan.learning_rates)) < len(plan.learning_rates):
        raise ValueError("--learning-rates names a rate twice: leave one out")
    if plan.task_seeds < 1:
        raise ValueError("--task-seeds must be at least 1")
    if plan.tasks and not plan.generates and plan.task_data is None:
        raise ValueError("--task needs --task-data: a folder with one folder per task, or `hub`")
    for run in plan.runs:
        model_config(run.settings(plan.settings), corpus)
    for name in plan.tasks if not plan.generates else ():
        plan.settings.finetuning_for(name)
    trained = [load(find_task(name), plan.task_data or "")[0] for name in plan.tasks if not plan.generates]
    objective = OBJECTIVES[plan.settings.training.objective].objective(corpus, plan.settings.training, 1)
    for run in plan.foreseen_runs:
        check_reached(run.settings(plan.settings).training, objective_of(run, plan, corpus))
    return objective, [examples.note for examples in trained if examples.note]
