"""The verbs that pre-train and fine-tune a model."""

from pathlib import Path
from typing import Annotated

import typer

from leanformer_cli.application import app
from leanformer_cli.ending import continues
from leanformer_cli.options import (
    AsJson,
    AutoResume,
    Config,
    ConfigOption,
    Data,
    Hours,
    Minutes,
    Plugin,
    Quiet,
    Recipe,
    Resume,
    RunOut,
    Set,
    Tokens,
    budget_of,
    given_by,
    load,
    settings_of,
    show,
)


@app.command()
def pretrain(
    config: Config = None,
    *,
    data: Data,
    out: RunOut,
    init: Annotated[
        Path | None, typer.Option("--init", metavar="MODEL", help="Start from the weights of this run or saved model.")
    ] = None,
    recipe: Recipe = None,
    hours: Hours = None,
    minutes: Minutes = None,
    tokens: Tokens = None,
    set_: Set = None,
    plugin: Plugin = None,
    resume: Resume = False,
    autoresume: AutoResume = False,
    extend: Annotated[
        int | None,
        typer.Option(
            "--extend",
            metavar="STEPS",
            help="Extend the finished run in RUN to this total number of steps; its schedule must be constant or "
            "warmup_stable_decay.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan and the time that it takes here, and stop.")
    ] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Pre-train one model.

    --hours, --minutes and --tokens set the size, the tokens, the batch and the warm-up of a recipe, after a few steps
    that are timed. The setting training.objective is masked_lm, causal_lm or seq2seq. For several processes use
    torchrun --nproc-per-node N -m leanformer_cli ...
    """
    from leanformer.records.run import Pretraining
    from leanformer.training.budget import as_recorded, plan
    from leanformer.training.pretrain import pretrain
    from leanformer.training.run.extension import extended_to
    from leanformer.training.run.record import RunDirectory

    if autoresume and (out / "run.json").exists():
        resume = extend is None or extended_to(out, extend)
        extend = None if resume else extend
    budget, goes_on = budget_of(hours, minutes, tokens, config, recipe), resume or extend is not None
    settings, quiet = settings_of(config, set_, goes_on, recipe), quiet or as_json
    if (budget or dry_run) and not goes_on:
        if init is not None:
            raise ValueError(f"--init {init} has a size of its own, without a plan: give training.max_tokens instead")
        load(plugin)
        if not dry_run:
            RunDirectory(out).require_unused()
        found = plan(settings, data, **budget, keep=given_by(config, recipe, set_))
        show({"plan": found.sentence, "settings": found.settings.to_dict()}, as_json and dry_run, quiet)
        if dry_run:
            return
        settings = found.settings
    elif dry_run:
        raise ValueError("--dry-run plans a new run: leave it out to continue the one in --out")
    elif budget and extend is None:
        settings = as_recorded(
            RunDirectory(out).read(Pretraining)["settings"], settings, given_by(config, recipe, set_)
        )
    record = pretrain(settings, data, out, init=init, resume=resume, extend=extend, quiet=quiet, plugin=plugin)
    show(record, as_json, quiet=True)


@app.command()
@continues()
def finetune(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A pre-training run or a saved model.")],
    task: Annotated[
        str, typer.Option(help="cola, boolq, squad, ... (docs/data.md), or a task that a plug-in registers.")
    ],
    task_data: Annotated[
        str, typer.Option(metavar="DIR", help="A folder with one folder per task (DIR/sst2/train.jsonl.xz), or `hub`.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="RUN", help="The directory to create.")],
    seeds: Annotated[int | None, typer.Option(help="Fine-tune with seeds 1 to N, each in its own folder.")] = None,
    method: Annotated[
        str | None,
        typer.Option(help="dense, pst or magnitude (docs/fine-tuning.md); overrides finetuning.method."),
    ] = None,
    sparsity: Annotated[
        float | None, typer.Option(help="pst, magnitude: fraction of weights that become zero; default: 0.9.")
    ] = None,
    config: ConfigOption = None,
    discard_model: Annotated[
        bool, typer.Option("--discard-model", help="Keep only scores and predictions, not the model.")
    ] = False,
    set_: Set = None,
    plugin: Plugin = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Fine-tune a model on a labelled task.

    The score is taken at the end of training.
    """
    from leanformer.finetuning.finetune import finetune

    load(plugin)
    given = {"method": method, "sparse.sparsity": sparsity}
    overrides = [f"finetuning.{key}={value}" for key, value in given.items() if value is not None]
    settings = settings_of(config, [*overrides, *(set_ or ())])
    if sparsity is not None and settings.finetuning_for(task).method == "dense":
        raise ValueError(f"--sparsity {sparsity}: a dense model has no zeros; add --method pst or --method magnitude")
    record = finetune(
        run, task, task_data, out, settings, seeds=seeds, keep_model=not discard_model, quiet=quiet or as_json
    )
    results = record.get("results") or record  # of one run, or of several
    means = {name: value if isinstance(value, float) else value["mean"] for name, value in results["metrics"].items()}
    shown = {"task": task, **means, **{key: results.get(key) for key in ("score", "sd", "collapsed")}, "out": str(out)}
    if sparse := results.get("sparse"):
        shown |= {"zeros": f"{sparse['zeros']:,} of {sparse['weights']:,}", "trained parameters": sparse["trainable"]}
    show(record if as_json else shown, as_json, quiet)
