"""`leanformer.compare`: pre-trains mechanisms under equal conditions, and writes a statistical report."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from leanformer.comparison.compare import compare as run_comparison
from leanformer.comparison.plan import FIRST_TUNING_SEED
from leanformer.comparison.variants import Variant, label_of, labels_of
from leanformer.comparison.variants import grid as all_pairs
from leanformer.interface import lists
from leanformer.interface.arms import arms
from leanformer.interface.comparison import Comparison
from leanformer.interface.data import Data, directory_of
from leanformer.interface.resuming import Resume, resumes
from leanformer.interface.settings import Given, request
from leanformer.settings import Settings
from leanformer.study.execution import Execution

TABLES = ("model", "training")
MECHANISMS = ("dot_product", "symmetric", "pairwise", "shared")


def compare(
    data: Data | str | Path,
    *,
    out: str | Path,
    attention: str | Sequence[str] = MECHANISMS,
    seeds: int | Sequence[int] = 3,
    recipe: str | None = None,
    minutes: float | None = None,
    hours: float | None = None,
    tokens: int | None = None,
    settings: Given = None,
    grid: bool = False,
    learning_rates: Sequence[float] | None = None,
    tuning_seeds: int | Sequence[int] | None = None,
    tuning_tokens: int | None = None,
    baseline: str | None = None,
    main: str | Sequence[str] | None = None,
    margin: float = 0.03,
    task_margin: float = 1.0,
    task: str | Sequence[str] = (),
    task_data: str | Path | None = None,
    task_seeds: int = 1,
    jobs: int | None = None,
    executor: str = "local",
    parallel: int | None = None,
    slurm: str | Sequence[str] = (),
    shard: str | None = None,
    plugin: str | Path | None = None,
    resume: Resume = False,
    dry_run: bool = False,
    keep_models: bool = True,
    quiet: bool = False,
    command: str = "",
    **keywords: Any,
) -> Comparison | None:
    """Run what is still to run of the comparison in `out`, and write its report; returns it, or None for a dry run.

    attention       mechanisms with options in brackets, "short=mechanism[option=value]" with a name of your own
    baseline        the arm that all others are compared with: by default dot_product, or the first one
    seeds           the number of runs per mechanism, or their seeds; runs of one seed are compared in pairs
    recipe, minutes, hours, tokens, settings, keywords      as for `pretrain`; the budget is that of each run
    grid            compare every projection with every compatibility instead of `attention`
    learning_rates  rates to try on the `tuning_seeds`, for `tuning_tokens` if given; the best one is reported
    main            the mechanisms of the main contrast; by default all but the baseline
    margin          the largest difference of equivalent losses, in nats; `task_margin` of equivalent scores, in points
    task            tasks from the folder `task_data` on which every model is fine-tuned with `task_seeds` seeds
    jobs            the runs at the same time on one machine; by default one per CPU core, or one on a GPU
    executor        where the runs go: "local", "slurm" or "ray"; at most `parallel` at a time on a cluster
    slurm           options of sbatch as "key=value", or a TOML file of them
    shard           "2/5": only the second of five parts of the runs; five commands share the directory
    plugin          a file that registers mechanisms; it may be left out if it is loaded already
    resume          True goes on with the comparison in `out`, "auto" goes on if there is one
    dry_run         print an estimate of time and disk space, and stop
    command         what the report gives as the way to repeat the comparison; by default this call
    """
    out, path = Path(out), directory_of(data)
    for name, value in (("margin", margin), ("task-margin", task_margin)):
        if not value > 0:
            raise ValueError(f"--{name} {value:g}: write a number above 0")
    for name, instead in (("seed", "seeds=[...]"), ("attention_options", 'brackets, attention=["NAME[OPTION=VALUE]"]')):
        if name in keywords:
            raise ValueError(f"{name} = {keywords[name]!r}: in a comparison this is given by {instead}")
    variants, plugin = arms(attention, plugin)
    budgets: dict[str, Any] = {"minutes": minutes, "hours": hours, "tokens": tokens}
    asked = request(keywords, TABLES, settings=settings, recipe=recipe, **budgets)
    numbers, listed = lists.seeds(seeds, "seeds"), lists.names(attention)
    variants = _grid(asked.settings, quiet=quiet) if grid else variants
    run_comparison(
        asked.settings,
        path,
        out,
        variants=variants,
        seeds=numbers,
        **asked.budget,
        keep=asked.keep,
        learning_rates=lists.rates(learning_rates, "learning_rates"),
        tuning_seeds=None if tuning_seeds is None else lists.seeds(tuning_seeds, "tuning_seeds", FIRST_TUNING_SEED),
        tuning_tokens=tuning_tokens,
        margin=margin,
        task_margin=task_margin / 100,
        baseline=None if baseline is None else label_of(baseline, variants),
        main=None if main is None else labels_of(",".join(lists.names(main)), variants),
        tasks=lists.names(task),
        task_data=None if task_data is None else str(task_data),
        task_seeds=task_seeds,
        execution=Execution.of(executor, jobs, parallel, lists.names(slurm), shard),
        plugin=None if plugin is None else Path(plugin),
        resume=resumes(resume, out / "comparison.json"),
        dry_run=dry_run,
        keep_models=keep_models,
        quiet=quiet,
        command=command or _call(path, out, listed, numbers, grid=grid),
    )
    return None if dry_run else Comparison(out)


def _grid(settings: Settings, *, quiet: bool) -> list[Variant]:
    rotary = settings.model.get("positions") == "rotary"
    if not rotary and not quiet:
        print("note: the grid is without `phased`, which needs model.positions = rotary")
    return all_pairs(rotary=rotary)


def _call(data: Path, out: Path, attention: list[str], seeds: list[int], *, grid: bool) -> str:
    """Returns the call that repeats the comparison, with the settings that it has written down."""
    arms = "grid=True" if grid else f"attention={attention!r}"
    return (
        f"leanformer.compare({str(data)!r}, out={str(out)!r}, {arms}, seeds={seeds!r}, "
        f"settings={str(out / 'settings.json')!r})"
    )
