"""Trackers of accelerate beside curve.jsonl: RUN/tensorboard, Weights & Biases, trackio."""

from dataclasses import asdict
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import ProjectConfiguration

from leanformer.install import how_to_install
from leanformer.settings import TrainingSettings


def make_accelerator(settings: TrainingSettings, run: Path) -> Accelerator:
    """Devices and processes as torchrun or `accelerate launch` give them; autocast and accumulation are the loop's.

    Unless it is told that there is no GPU, accelerate takes the processes of a launcher for as many runs of one.
    """
    try:
        accelerator = Accelerator(
            cpu=not torch.accelerator.is_available(),
            mixed_precision="no",
            log_with=settings.log_with,
            project_config=ProjectConfiguration(project_dir=str(run), logging_dir=str(run)),
        )
    except ValueError as error:
        if settings.log_with is None:
            raise
        raise ValueError(f"training.log_with = {settings.log_with!r}: {error}") from None
    if settings.log_with is not None and not accelerator.log_with:
        remedy = how_to_install("tensorboard" if settings.log_with == "tensorboard" else "tracking")
        raise ValueError(f"training.log_with = {settings.log_with!r}: not installed: {remedy}")
    return accelerator


def start_trackers(accelerator: Accelerator, settings: TrainingSettings, step: int) -> None:
    """Lines beyond `step`, which a killed run may have logged, are purged from TensorBoard. Weights & Biases keep their
    files in the run directory too, trackio in a database of its own; both call the run by its directory's name."""
    if not accelerator.log_with:
        return
    config = {name: value for name, value in asdict(settings).items() if value is not None}
    config = {name: str(value) if isinstance(value, list) else value for name, value in config.items()}
    project = "tensorboard" if settings.log_with == "tensorboard" else "leanformer"
    run = Path(str(accelerator.project_dir))
    options = {"tensorboard": {"purge_step": step + 1}, "trackio": {"name": run.name}}
    options["wandb"] = {"name": run.name, "dir": str(run)}
    try:
        accelerator.init_trackers(project, config, options)
    except Exception as error:  # each has errors of its own: no account, no server, no disk
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        remedy = "run wandb login, or set WANDB_MODE=offline" if settings.log_with == "wandb" else "choose another"
        raise ValueError(f"training.log_with = {settings.log_with!r} does not start ({reason}): {remedy}") from error
