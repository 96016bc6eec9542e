"""The extension of a finished run to a larger budget (`leanformer pretrain --extend STEPS`).

The run returns to its checkpoint at step f (`schedule.fork`), or to the last one before f, and continues as a run of
the larger budget does. Up to f both runs have the same weights if both warm up for the same number of steps, so the
warm-up becomes a smaller fraction of the larger budget. Then `warmup_stable_decay` falls in its fraction of the new
budget.

    run.json: settings.training    max_steps (in place of max_tokens) and warmup are the new plan's
    run.json: extended             a list, the plan before each time: max_steps, max_tokens, warmup, the results then,
                                   and `from_step`, the checkpoint's
"""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from leanformer import files
from leanformer.records.run import Pretraining
from leanformer.settings import settings_from
from leanformer.training.optimizers.schedule import fork
from leanformer.training.run.checkpoint import Checkpoints, read_state, verify
from leanformer.training.run.curve import require_prefix
from leanformer.training.run.provenance import PLAN
from leanformer.training.run.record import RunDirectory


def planned(run: RunDirectory, steps: int) -> dict[str, Any]:
    """Returns the record of the finished run with a budget of `steps` steps, and writes nothing.

    Raises ValueError with the reason if the run cannot be extended.
    """
    record = run.read(Pretraining)
    if record["status"] != "finished":
        raise ValueError(f"{run.path} is not finished (status {record['status']}): continue it with --resume first")
    training = settings_from(record["settings"]).training
    before = (record.get("results") or {}).get("steps") or 0
    anew = f"start a new run from its weights with --init {run.path}"
    if training.max_seconds is not None:
        raise ValueError(f"{run.path} has a budget of seconds, which is spent; {anew}")
    if steps <= before:
        raise ValueError(f"--extend {steps}: {run.path} has made {before} steps already; give more of them")
    last = fork(training, before)
    if last is None:
        ramp = training.first_batch_size is not None or training.final_mask_rate is not None
        reason = "its batches or masks change" if ramp else f"training.schedule = {training.schedule!r} falls"
        raise ValueError(f"--extend: {reason} in {run.path} as its budget is spent, from the first step on; {anew}")
    found = [step for step in Checkpoints(run.checkpoints).steps() if step <= last]
    if not found:
        raise ValueError(
            f"--extend: {run.checkpoints} holds no checkpoint up to step {last}, before the end has a say; {anew}"
        )
    newest = Checkpoints(run.checkpoints).path(found[-1])  # the longer run starts from it
    verify(newest, anew)
    state = read_state(newest, anew)
    require_prefix(run.curve, state["curve_bytes"], state["curve_sha256"])
    after = replace(training, max_steps=steps, max_tokens=None, warmup=training.warmup * before / steps)
    plan = {key: getattr(training, key) for key in PLAN}
    entry = plan | {"from_step": found[-1], "results": record.get("results")}
    return record | {
        "status": "running",
        "settings": record["settings"] | {"training": asdict(after)},
        "results": None,
        "model": None,
        "curve_sha256": None,
        "extended": [*record.get("extended", []), entry],
    }


def extended_to(place: str | Path, steps: int) -> bool:
    """Whether the run has already been extended to so many steps, so that it is resumed as any other run."""
    record = RunDirectory(Path(place)).read(Pretraining)
    return bool(record.get("extended")) and record["settings"]["training"].get("max_steps") == steps


def rewind(checkpoints: Checkpoints, record: dict[str, Any]) -> None:
    """Remove the checkpoints that are later than the one from which the longer run continues."""
    for step in checkpoints.steps():
        if step > record["extended"][-1]["from_step"]:
            files.remove_directory(checkpoints.path(step))
