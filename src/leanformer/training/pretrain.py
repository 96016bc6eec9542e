"""Pre-training from a data directory to a run directory: the function behind `leanformer pretrain`.

It starts from fresh weights, or from those of a saved model (`init`), and may use a teacher (`leanformer distill`).
"""

import shlex
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from leanformer import files, progress
from leanformer.attention import load_plugin
from leanformer.data.corpus import Corpus, Prepared
from leanformer.data.pairs import PairCorpus
from leanformer.data.sampling import few_notes
from leanformer.models import LeanformerConfig, saved
from leanformer.models.initialisation import initialise
from leanformer.models.sentence_parts import sentence_parts
from leanformer.records.difference import Difference
from leanformer.records.run import Pretraining
from leanformer.settings import Settings, settings_from
from leanformer.training.loop import fit
from leanformer.training.machine.activation_checkpointing import checkpoint_activations
from leanformer.training.machine.hardware import autocast_dtype, prepare_cpu
from leanformer.training.machine.peak import peak_of
from leanformer.training.machine.process_group import launcher_note
from leanformer.training.machine.sharding import gathered
from leanformer.training.objectives.documents import require_document_mask
from leanformer.training.objectives.protocol import PretrainingObjective, TeacherProtocol
from leanformer.training.objectives.table import OBJECTIVES, model_config
from leanformer.training.objectives.token_types import alike, follow_the_first
from leanformer.training.run import extension
from leanformer.training.run.checkpoint import Checkpoints
from leanformer.training.run.interrupts import Stopped
from leanformer.training.run.kept_models import KeptModels, remove_after, require_space
from leanformer.training.run.provenance import continued, moved, new_record, run_difference
from leanformer.training.run.record import RunDirectory
from leanformer.training.run.saved_model import SavedModel, copy_of, save
from leanformer.training.run.score_points import ScorePoints, check_reached
from leanformer.training.run.scores import score
from leanformer.training.run.trackers import make_accelerator


def pretrain(
    settings: Settings | None,
    data: str | Path | None,
    out: str | Path,
    *,
    init: str | Path | None = None,
    teacher: TeacherProtocol | None = None,
    resume: bool = False,
    extend: int | None = None,
    quiet: bool = False,
    plugin: str | Path | None = None,
) -> dict[str, Any]:
    """Train a model on `data` with the objective `training.objective` in the directory `out`; returns its run.json.

    `init` is a run or a saved model to start from; [model] of the settings may change only its dropout.
    On `resume`, those of `settings`, `data`, `init` and `plugin` that are None are taken from the run, and the others
    must agree with it. `extend` resumes a finished run and sets its total number of steps (`extension`).
    Everything is checked before `out` is touched. Raises what `fit` raises, FileNotFoundError if there is no run to
    resume, FileExistsError if `out` holds another run, ValueError for settings that do not fit the model or the data.
    """
    run, before = RunDirectory(Path(out)), None
    if extend is not None:
        if settings is not None:
            raise ValueError("--extend goes on with the run's own settings: leave out the config and --set")
        resume = True
    if resume:
        before = run.read(Pretraining) if extend is None else extension.planned(run, extend)
        settings = settings or settings_from(before["settings"])
        data, plugin = data or before["data"]["path"], plugin or (before["plugin"] or {}).get("path")
        init = init or (before.get("start") or {}).get("path")
        if before.get("teacher") and teacher is None:
            raise ValueError(f"{run.record} is of a student: continue it with leanformer distill ... --resume")
    else:
        run.require_unused()
    if data is None:
        raise ValueError("no data directory given: make one with: leanformer prepare TEXT --out DATA")
    if plugin is not None:
        if before is not None:
            require_same_plugin(before["plugin"], plugin, run)
        load_plugin(plugin)
    settings = settings or Settings()
    training, objective_kind = settings.training, OBJECTIVES[settings.training.objective]
    if teacher is not None and training.sharding is not None:
        raise ValueError(f"training.sharding = {training.sharding!r}: not supported by distill, leave it out")
    corpus = objective_kind.open(data)
    start = None if init is None else SavedModel.open(init, corpus)
    parts = None if start is None else sentence_parts(start.folder)
    config = model_config(settings, corpus, start)
    prepare_cpu(training.threads)
    accelerator = make_accelerator(training, run.path)
    objective, taught = _build_objective(settings, corpus, config, accelerator.num_processes, teacher)
    check_reached(training, objective)
    record = new_record(training, config, corpus, objective, accelerator, plugin, start)
    if taught is not None:
        record["teacher"] = taught
        record["settings"]["distillation"] = asdict(settings.distillation)
    main = accelerator.is_main_process
    console = progress.console(quiet=quiet or not main)
    if before is not None:
        if changed := run_difference(before, record):
            raise ValueError(f"{run.record} was made with {changed}: {_remedy(before, changed, run)}")
        if before["status"] == "finished":
            saved.locate(run.path)  # raises if its model is missing or damaged
            console.print(f"{run.path} is already finished")
            return before
        record = continued(before, record)
        if record["resumed"] != before.get("resumed", []):
            console.print("note: other hardware or packages than before: the curve need not be the same bit by bit")
    if training.document_mask:
        require_document_mask(config)
    if main:
        require_space(training, run, record["ledger"]["parameters"]["total"], objective.total_steps)
    if start is None:
        model = objective_kind.model(config)
        initialise(model, training.seed)
    else:
        model = start.load(objective_kind.model, config, head=training.seed)
    if training.activation_checkpointing:
        checkpoint_activations(model)
    types_untrained = start is None or alike(model)

    with run.claimed(new=before is None) if main else nullcontext():
        if main:
            if extend is not None:
                extension.rewind(Checkpoints(run.checkpoints), record)
                remove_after(run, record["extended"][-1]["from_step"])
            record["floor"] = record.get("floor") or objective.floor()
            run.write(record)
        accelerator.wait_for_everyone()
        objective.cache_on_device(accelerator.device)
        console.print(headline(record, objective, run))
        notes = held_out_notes(corpus, training.sequence_length)
        for note in [*notes, *filter(None, [launcher_note()])]:
            console.print(f"note: {note}")
        resolved = replace(training, precision=record["hardware"]["precision"])
        dtype = autocast_dtype(resolved.precision, accelerator.device)

        def scored(folder: str) -> dict[str, Any]:
            with gathered(model):
                return score(model, objective, training.score_targets, run.path / folder, accelerator, dtype)

        def write(folder: Path) -> None:
            copy = copy_of(model, objective_kind.model, main)
            if copy is not None:
                if types_untrained:
                    follow_the_first(copy)
                try:
                    save(copy, corpus.tokenizer_files, folder, parts)
                except OSError as error:
                    raise OSError(f"{error}: free disk space and continue with --resume") from error

        points = ScorePoints(training, objective, run, scored, main=main)
        kept = KeptModels(training, run, write, main=main)
        try:
            how: dict[str, Any] = {"tasks": (points, kept), "resume": resume, "quiet": quiet}
            results = fit(model, objective, resolved, run, accelerator=accelerator, **how)
        except Stopped as stop:
            verb = ["pretrain"] if teacher is None else teacher.command
            command = shlex.join(["leanformer", *verb, "--data", str(data), "--out", str(out), "--resume"])
            console.print(f"stopped by {stop.signal} after step {stop.step}; continue with: {command}")
            raise
        measurable_seconds = 0.0 if moved(record) else results["seconds"]
        peak = peak_of(accelerator, dtype, measurable_seconds)
        results["scores"] = scored(run.scores.name)
        with run.outcome() if main else nullcontext():
            if main:
                points.finish(results["steps"], results["scores"])
            if kept.due(results["steps"]):
                kept.after(results["steps"])
            write(run.model)
            if main:
                record = run.update(status="finished", **_finished(run, record, results, peak))
    accelerator.end_training()
    if missed := points.missed(results["steps"]):
        console.print(f"note: {missed}")
    console.print(f"finished: {run.model}")
    return record


def _finished(
    run: RunDirectory, record: Mapping[str, Any], results: dict[str, Any], peak: float | None
) -> dict[str, Any]:
    """Returns what run.json gains at the end: results with FLOP/s and MFU, hashes of the model and the curve."""
    rate = record["ledger"]["flops_per_token"]["training"] * results["tokens_per_second"]
    speed = {"flops_per_second": rate, "matrix_peak_flops_per_second": peak}
    speed["mfu"] = None if peak is None else rate / peak
    return {"results": results | speed, "model": saved_record(run), "curve_sha256": files.sha256(run.curve)}


def saved_record(run: RunDirectory) -> dict[str, str]:
    """Returns the part of run.json on the saved model."""
    sums = files.sha256(run.model / files.SUMS)
    return {"path": run.model.name, "sha256": saved.weights_hash(run.model), "sums_sha256": sums}


def require_same_plugin(recorded: Mapping[str, Any] | None, plugin: str | Path, run: RunDirectory) -> None:
    """Raises ValueError unless the file is the one that the run began with; compares them before its code runs."""
    if not Path(plugin).is_file():
        raise FileNotFoundError(f"plug-in {plugin} does not exist: give its new place with --plugin")
    if recorded is None:
        raise ValueError(f"{run.record} was made without a plug-in: leave --plugin out, or choose another --out")
    if files.sha256(Path(plugin)) != recorded["sha256"]:
        raise ValueError(
            f"{run.record} was made with plugin.sha256 = {recorded['sha256']!r}, and {plugin} is another file now: "
            "restore it, or choose another --out"
        )


def _build_objective(
    settings: Settings, data: Prepared, config: LeanformerConfig, world: int, teacher: TeacherProtocol | None
) -> tuple[PretrainingObjective, dict[str, Any] | None]:
    """Returns the objective, and what run.json records about the teacher (None without a teacher)."""
    if teacher is not None:
        return teacher.build_objective(data, settings, config, world)
    return OBJECTIVES[settings.training.objective].objective(data, settings.training, world), None


def held_out_notes(corpus: Prepared, length: int) -> list[str]:
    """Returns a note if the validation loss is measured on few sequences or pairs."""
    if isinstance(corpus, Corpus):
        return few_notes(corpus.valid.sequences(length), f"held-out sequences of {length} tokens", "prepare more text")
    if isinstance(corpus, PairCorpus):
        return few_notes(len(corpus.valid), "pairs of the split valid", "give more pairs")
    return []


def _remedy(before: Mapping[str, Any], changed: Difference, run: RunDirectory) -> str:
    longer_budget = before["status"] == "finished" and changed.key.startswith(("training.max_", "training.warmup"))
    extends = before["settings"]["training"].get("schedule") in ("constant", "warmup_stable_decay")
    how = "--extend STEPS, or" if extends else "start"
    longer = f"; to train it longer, {how} a new run with --init {run.path}" if longer_budget else ""
    return f"repeat its settings, or choose another --out{longer}"


def headline(record: Mapping[str, Any], objective: PretrainingObjective, run: RunDirectory) -> str:
    """Returns the line that is printed before the first step: mechanism, parameters, budget, hardware and directory."""
    hardware, steps = record["hardware"], objective.total_steps
    if steps is None:
        budget = f"{record['settings']['training']['max_seconds']:,.0f} s of {objective.tokens(1):,} tokens per step"
    else:
        budget = f"{steps:,} steps, {objective.tokens(steps):,} tokens"
    parts = [
        f"{record['attention']}, {record['ledger']['parameters']['total']:,} parameters",
        budget,
        f"{hardware['gpu'] or hardware['cpu']}, {hardware['precision']}",
        f"-> {run.path}",
    ]
    return "; ".join(parts)
