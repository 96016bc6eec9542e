"""The verbs that pre-train and fine-tune a model."""

from pathlib import Path
from typing import Annotated, Any

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
    file_there,
    model_there,
    show,
    tables_of,
    words,
)


@app.command()
def pretrain(
    config: Config = None,
    *,
    data: Data,
    out: RunOut,
    init: Annotated[
        Path | None,
        typer.Option(
            "--init", metavar="MODEL", callback=model_there, help="Start from the weights of this run or saved model."
        ),
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
    keep_every: Annotated[
        int | None,
        typer.Option(
            "--keep-every", metavar="N", help="Keep the model of every N-th step in RUN/kept; sets training.keep_every."
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
    from leanformer import pretrain
    from leanformer.interface import pretrain as interface

    if keep_every is not None:
        set_ = [*(set_ or ()), f"training.keep_every={keep_every}"]
    quiet, tables = quiet or as_json, tables_of(config, set_, recipe)
    asked: dict[str, Any] = {"recipe": recipe, "hours": hours, "minutes": minutes, "tokens": tokens, "settings": tables}
    if dry_run:
        if resume or extend is not None or (autoresume and (out / "run.json").exists()):
            raise ValueError("--dry-run plans a new run: leave it out to continue the one in --out")
        found = interface.plan(interface.request({}, interface.TABLES, **asked), data, init=init, plugin=plugin)
        show({"plan": found.sentence, "settings": found.settings.to_dict()}, as_json, quiet)
        return
    how: dict[str, Any] = {"plugin": plugin, "extend": extend, "quiet": quiet}
    run = pretrain(data, out=out, **asked, init=init, resume="auto" if autoresume else resume, **how)
    record = run.record
    show(record, as_json, quiet=True)


@app.command()
@continues()
def finetune(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", callback=model_there, help="A pre-training run or a saved model.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="RUN", help="The directory to create.")],
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            metavar="FILE",
            callback=file_there,
            help="Your labelled file: .csv, .tsv, .jsonl, .json, .parquet, .conll, .iob or .bio (docs/fine-tuning.md).",
        ),
    ] = None,
    text: Annotated[
        str | None,
        typer.Option(metavar="COLUMN[,COLUMN]", help="--data: the column of the text, or of both texts of a pair."),
    ] = None,
    label: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN[,...]", help="--data: the column of the label, of a list of labels, or several of 0 and 1."
        ),
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(help="--data: single, multi, regression, tokens or questions; default: found from the columns."),
    ] = None,
    validation: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            callback=file_there,
            help="--data: a file to score on; default: a part of FILE, by a hash of the text.",
        ),
    ] = None,
    test: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", callback=file_there, help="--data: another file to score on, which chooses nothing."
        ),
    ] = None,
    split_seed: Annotated[int, typer.Option(help="--data: the seed that divides the file.")] = 0,
    class_weights: Annotated[
        str | None,
        typer.Option(metavar="balanced", help="Give all classes the same weight: n / (k n_c) per row of class c."),
    ] = None,
    task: Annotated[
        str | None, typer.Option(help="cola, boolq, squad, ... (docs/data.md), or a task that a plug-in registers.")
    ] = None,
    task_data: Annotated[
        str | None,
        typer.Option(metavar="DIR", help="A folder with one folder per task (DIR/sst2/train.jsonl.xz), or `hub`."),
    ] = None,
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
    """Fine-tune a model on labels.

    They are in a file of your own (--data) or belong to a known task (--task). The score is taken at the end of
    training. With --data, simple methods on the same rows are scored beside the model.
    """
    from leanformer import finetune

    if class_weights not in (None, "balanced"):
        raise ValueError(f"--class-weights {class_weights}: balanced is the only choice")
    loss = None if class_weights is None else "balanced"
    given = {"method": method, "sparse.sparsity": sparsity, "loss": loss}
    overrides = [f"finetuning.{key}={value}" for key, value in given.items() if value is not None]
    tables = tables_of(config, [*overrides, *(set_ or ())])
    _require_sparse(tables, task, sparsity)
    columns: dict[str, Any] = {"text": words(text or ""), "label": words(label or "")}
    own: dict[str, Any] = {"kind": kind, "validation": validation, "test": test, "split_seed": split_seed, **columns}
    how: dict[str, Any] = {"seeds": seeds, "settings": tables, "keep_model": not discard_model, "plugin": plugin}
    tuned = finetune(run, data, out=out, **own, task=task, task_data=task_data, **how, quiet=quiet or as_json)
    record = tuned.record
    show(record if as_json else _shown(record, out), as_json, quiet)


def _require_sparse(tables: dict[str, Any] | None, task: str | None, sparsity: float | None) -> None:
    """Raises ValueError for a sparsity that the method of fine-tuning would ignore."""
    from leanformer.settings import settings_from

    settings = settings_from(tables or {})
    tuned = settings.finetuning if task is None else settings.finetuning_for(task)
    if sparsity is not None and tuned.method == "dense":
        raise ValueError(f"--sparsity {sparsity}: a dense model has no zeros; add --method pst or --method magnitude")


def _shown(record: dict[str, Any], out: Path) -> dict[str, Any]:
    """Returns what is printed of the record of one run or of several."""
    results = record.get("results") or record
    means = {name: value if isinstance(value, float) else value["mean"] for name, value in results["metrics"].items()}
    shown = {"task": record["task"], **means, **{key: results.get(key) for key in ("score", "sd", "collapsed")}}
    if sparse := results.get("sparse"):
        shown |= {"zeros": f"{sparse['zeros']:,} of {sparse['weights']:,}", "trained parameters": sparse["trainable"]}
    for split, found in (results.get("baselines") or {}).items() if "results" in record else ():
        shown |= {split: found["sentence"], f"{split} table": [_row(split, system) for system in found["systems"]]}
    if "seeds" in record and "baselines" in record:
        verdicts = [found["validation"]["verdict"] for found in record["baselines"]]
        best = record["baselines"][0]["validation"]["best"]
        counts = ", ".join(f"{verdict} for {verdicts.count(verdict)}" for verdict in dict.fromkeys(verdicts))
        shown["validation"] = f"the model against {best}: {counts} of {len(verdicts)} seeds"
    return shown | {"out": str(out)}


def _row(split: str, system: dict[str, Any]) -> dict[str, Any]:
    """Returns a line of the table of a split, with the interval of the score at its end."""
    metrics = {key: value for key, value in system.items() if key not in ("system", "score", "low", "high")}
    interval = f"{system['low']:.3f} to {system['high']:.3f}"
    return {split: system["system"], **metrics, "95 % interval of the score": interval}
