"""The trackers of accelerate, in addition to curve.jsonl: TensorBoard in RUN/tensorboard, Weights & Biases, trackio."""

from dataclasses import asdict
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import ProjectConfiguration

from leanformer.errors import reason
from leanformer.install import how_to_install
from leanformer.settings import TrainingSettings


def make_accelerator(settings: TrainingSettings, run: Path) -> Accelerator:
    """Returns an accelerator with the devices and processes of torchrun or `accelerate launch`.

    The loop does autocast and accumulation itself. Without a GPU, `cpu` must be set: else accelerate treats the
    processes of a launcher as separate runs.
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
    """Start the trackers of the settings at `step`.

    Lines after `step`, which a killed run may have logged, are purged from TensorBoard. Weights & Biases keeps its
    files in the run directory, too, and trackio in its own database; both name the run after its directory.
    """
    if not accelerator.log_with:
        return
    given = {name: value for name, value in asdict(settings).items() if value is not None}
    config = {name: value if isinstance(value, int | float | str) else str(value) for name, value in given.items()}
    project = "tensorboard" if settings.log_with == "tensorboard" else "leanformer"
    run = Path(str(accelerator.project_dir))
    options = {"tensorboard": {"purge_step": step + 1}, "trackio": {"name": run.name}}
    options["wandb"] = {"name": run.name, "dir": str(run)}
    try:
        accelerator.init_trackers(project, config, options)
    except Exception as error:  # each tracker has its own errors: no account, no server, no disk
        remedy = "run wandb login, or set WANDB_MODE=offline" if settings.log_with == "wandb" else "choose another"
        raise ValueError(
            f"training.log_with = {settings.log_with!r} does not start ({reason(error)}): {remedy}"
        ) from error
