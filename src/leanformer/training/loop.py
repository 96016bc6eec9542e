"""The training loop, one for pre-training and fine-tuning.

With S the micro-batches of a step over all processes,

    gradient = d/dw  sum_{b in S} loss_sum(b) / sum_{b in S} num_targets(b)

however the global batch is divided among processes and micro-batches. Data and masks are functions of the step,
dropout is a function of (seed, step, rank), and the learning rate is a function of the progress. Hence a run that is
killed and resumed from a checkpoint has the same curve as an uninterrupted run, bit for bit on a CPU.

Only a logged step, a validation, a score and a checkpoint wait for the GPU. Until then losses and norms stay on it,
while the host prepares the next batch. Numbers that every step needs, such as its targets, are never on the device.
"""

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from leanformer import files
from leanformer.data.randomness import random_bits
from leanformer.settings import TrainingSettings
from leanformer.training.machine.energy import Meter
from leanformer.training.machine.hardware import autocast_dtype
from leanformer.training.machine.process_group import ProcessGroup, StepInfo
from leanformer.training.machine.sharding import gathered, local, shard, whole
from leanformer.training.objectives.protocol import Batch, Objective
from leanformer.training.optimizers.parameter_groups import make_optimizer
from leanformer.training.optimizers.schedule import Budget, fork, learning_rate, validation_due
from leanformer.training.run.callback import Callback
from leanformer.training.run.checkpoint import Checkpoints, Progress
from leanformer.training.run.curve import Curve
from leanformer.training.run.display import Display
from leanformer.training.run.interrupts import Interrupts, Stopped
from leanformer.training.run.record import RunDirectory
from leanformer.training.run.results import results
from leanformer.training.run.state_tensors import weights
from leanformer.training.run.step_task import StepTask
from leanformer.training.run.trackers import start_trackers


def fit(
    model: nn.Module,
    objective: Objective,
    settings: TrainingSettings,
    run: RunDirectory,
    *,
    accelerator: Accelerator,
    callbacks: Sequence[Callback] = (),
    tasks: Sequence[StepTask] = (),
    resume: bool = False,
    quiet: bool = False,
) -> dict[str, Any]:
    """Train `model` in place until the budget is spent, with `callbacks`; returns the `results` of run.json.

    `tasks` are done after the steps at which they are due, except after the last one. Raises ArithmeticError if the
    loss or a weight is no longer finite, OSError if the disk is full (earlier checkpoints stay in both cases),
    `Stopped` after the checkpoint that a signal requested, ValueError for a damaged checkpoint. A run that stops or
    fails is recorded in run.json; the caller records one that finishes. Sets torch's seed.
    """
    main = accelerator.is_main_process
    try:
        with run.outcome() if main else nullcontext(), Interrupts() as interrupts:
            loop = Loop(model, objective, settings, run, accelerator, resume, callbacks, tasks)
            title, silent = run.path.name, quiet or not main
            with Display(title, loop.budget, objective.tokens, loop.at, silent) as display:
                loop.run(interrupts, display)
    except Stopped:
        accelerator.wait_for_everyone()  # a launcher ends all processes as soon as one of them exits
        raise
    accelerator.wait_for_everyone()
    accelerator.free_memory()
    return results(loop.at, objective.tokens(loop.at.step), run.curve)


class Loop:
    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        settings: TrainingSettings,
        run: RunDirectory,
        accelerator: Accelerator,
        resume: bool,
        callbacks: Sequence[Callback] = (),
        tasks: Sequence[StepTask] = (),
    ) -> None:
        self.objective, self.settings, self.directory, self.accelerator = objective, settings, run, accelerator
        self.callbacks, self.tasks = callbacks, tasks
        self.rank, self.world = accelerator.process_index, accelerator.num_processes
        self.device, self.main = accelerator.device, accelerator.is_main_process
        self.dtype = autocast_dtype(settings.precision, self.device)
        self.budget = Budget(objective.total_steps, settings.max_seconds, objective.tokens)
        self.group = ProcessGroup(accelerator)

        self.sharded = settings.sharding == "fsdp2" and self.world > 1
        if self.sharded:
            shard(model, self.device, self.world)
        self.model = model.to(self.device).train()
        self.optimizer = make_optimizer(model, settings)
        # A fresh run's other processes may see another disk, and they write no checkpoint.
        record = run.read() if self.main or resume else {}
        self.fork = fork(settings, objective.total_steps)
        self.checkpoints = Checkpoints(run.checkpoints, settings.keep_checkpoints, self.fork, record, self.group)
        self.at = self.checkpoints.restore(model, self.optimizer, callbacks) if resume else Progress()
        if objective.total_steps is not None and self.at.step > objective.total_steps:
            raise ValueError(
                f"{self.checkpoints.path(self.at.step)} is beyond the {objective.total_steps} steps of {run.path}: "
                "take it away"
            )
        for task in tasks:
            task.rewind(self.at.step)
        self.curve = None
        if self.main:
            self.checkpoints.prune()
            self.curve = Curve(run.curve, keep=self.at.curve_bytes, sha256=self.at.curve_sha256)
        else:
            self.at.loss = 0.0
            self.at.joules = None if self.at.joules is None else 0.0
        self.learner = model if self.sharded else accelerator.prepare_model(model)
        if settings.compile:
            self.learner = torch.compile(self.learner, dynamic=False)
        start_trackers(accelerator, settings, self.at.step)
        self.pending: list[Tensor] = []
        first = accelerator.is_local_main_process
        self.meter = Meter(self.device, packages=first, before=self.at.joules, source=self.at.energy_source)
        self.started = time.perf_counter() - self.at.seconds

    def run(self, interrupts: Interrupts, display: Display) -> None:
        at, settings, budget = self.at, self.settings, self.budget
        batches, info = self.look_ahead(interrupts.signal)
        over = budget.spent(at.step, info.seconds)
        while not over and not info.signal:
            before = budget.fraction(at.step, info.seconds)
            rate = learning_rate(settings, budget.fraction(at.step + 0.5, info.seconds))
            norm = self.update(batches, info.targets, rate)
            at.step, at.targets = at.step + 1, at.targets + info.targets

            batches, info = self.look_ahead(interrupts.signal)
            at.seconds, over = info.seconds, budget.spent(at.step, info.seconds)
            validate = over or validation_due(settings, at.step, before, budget.fraction(at.step, info.seconds))
            if validate or at.step % settings.log_every == 0:
                self.log(rate, norm, validate, display)
            if not over:
                self.work()
            due = settings.checkpoint_every and (at.step % settings.checkpoint_every == 0 or at.step == self.fork)
            if due and not over:
                self.save()
            display.step(at.step, at.seconds)
            self.meter.tick()
        if not over:
            self.save()
            raise Stopped(info.signal, at.step)
        at.joules, at.energy_source = self.energy()
        at.seconds = time.perf_counter() - self.started

    def work(self) -> None:
        """Do the tasks that are due."""
        for task in self.tasks:
            if task.due(self.at.step):
                self.require_finite()
                with self.idle():
                    task.after(self.at.step)
                self.model.train()

    def look_ahead(self, signal: int) -> tuple[list[Batch], StepInfo]:
        """Returns this process's batches of the next step, and the numbers that all processes share before it."""
        over = self.at.step == self.objective.total_steps
        batches = [] if over else self.objective.micro_batches(self.at.step, self.rank, self.world)
        targets = sum(self.objective.num_targets(batch) for batch in batches)
        return batches, self.group.step_info(targets, time.perf_counter() - self.started, signal)

    def update(self, batches: list[Batch], targets: int, rate: float) -> Tensor | None:
        """Take one step; returns the gradient's norm before clipping."""
        torch.manual_seed(int(random_bits(self.settings.seed, self.at.step, self.rank)))
        self.optimizer.zero_grad()
        for callback in self.callbacks:
            callback.before_step(self.at.step)
        for i, batch in enumerate(batches, start=1):
            with nullcontext() if i == len(batches) else self.accelerator.no_sync(self.learner):
                loss = self.loss_sum(self.learner, batch)
                self.accelerator.backward(loss * (self.world / max(1, targets)))  # DDP averages over the world
            self.pending.append(loss.detach())
        norm = None
        if self.settings.clip_norm is not None:
            norm = whole(nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip_norm))
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["factor"]
        self.optimizer.step()
        for callback in self.callbacks:
            callback.after_step(self.at.step)
        return norm

    def loss_sum(self, model: nn.Module, batch: Batch) -> Tensor:
        if self.device.type == "cuda":  # a copy from pageable memory would wait for the steps before it
            batch = {name: tensor.pin_memory() for name, tensor in batch.items()}
        batch = {name: tensor.to(self.device, non_blocking=True) for name, tensor in batch.items()}
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.dtype is not None):
            return self.objective.loss_sum(model, batch)

    def log(self, rate: float, norm: Tensor | None, validate: bool, display: Display) -> None:
        """Append a line to the curve, with the mean loss since the previous line."""
        at = self.at
        self.fetch_losses()
        (loss,) = self.group.total(at.loss)
        line: dict[str, Any] = {
            "step": at.step,
            "tokens": self.objective.tokens(at.step),
            "seconds": time.perf_counter() - self.started,
            "loss": self.finite("the loss", loss / max(1, at.targets)),
            "learning_rate": rate,
        }
        if norm is not None:
            line["gradient_norm"] = self.finite("the gradient", float(norm))
        if validate and (validation_loss := self.validate()) is not None:
            line["validation_loss"] = self.finite("the validation loss", validation_loss)
        at.loss, at.targets = 0.0, 0
        if self.curve is not None:
            self.curve.append(line)
        display.log(line)
        self.accelerator.log({k: v for k, v in line.items() if k != "step"}, step=at.step)

    def fetch_losses(self) -> None:
        """Wait for the device. Sums of float32 numbers in float64 are exact here, however they are grouped."""
        if self.pending:
            self.at.loss += sum(torch.stack(self.pending).tolist())
            self.pending.clear()

    @torch.no_grad()
    def validate(self) -> float | None:
        with self.idle(), gathered(self.model):
            self.model.eval()
            losses, targets = [], 0.0
            for batch in self.objective.validation_batches(self.rank, self.world):
                losses.append(self.loss_sum(self.model, batch))
                targets += self.objective.num_targets(batch)
            loss = sum(torch.stack(losses).tolist()) if losses else 0.0
            self.model.train()
            loss, targets = self.group.total(loss, targets)
            return loss / targets if targets else None

    def save(self) -> None:
        at = self.at
        with self.idle():
            (loss,) = self.group.total(at.loss)
            joules, source = self.energy()
            self.finite("the loss", loss)
            self.require_finite()
            if self.curve is None and not self.sharded:
                return
            before = [p.name for p in self.checkpoints.all()]
            try:
                progress = replace(at, loss=loss, joules=joules, energy_source=source)
                if self.curve is not None:
                    progress.curve_bytes = self.curve.force_to_disk()
                    progress.curve_sha256 = files.sha256_of_part(self.curve.path, 0, progress.curve_bytes)
                if self.sharded:
                    self.checkpoints.save_sharded(self.model, self.optimizer, progress)
                else:
                    self.checkpoints.save(self.model, self.optimizer, progress, self.callbacks)
            except OSError as error:
                kept = f"{before[-1]} is intact" if before else "there is no earlier one"
                raise OSError(f"{error}; {kept}: free disk space and continue with --resume") from error

    def energy(self) -> tuple[float | None, str]:
        """Returns the joules of all processes so far (None if any of them is unknown), and their source or why not."""
        mine = self.meter.read()
        (joules,) = self.group.total(math.nan if mine is None else mine)
        if not math.isnan(joules):
            return joules, self.meter.source
        return None, self.meter.source if mine is None else "another process of the run is silent"

    def finite(self, what: str, value: float) -> float:
        if not math.isfinite(value):
            raise ArithmeticError(
                f"{what} is {value} at step {self.at.step}: lower learning_rate, raise warmup or lower clip_norm; "
                "the checkpoints before it are kept"
            )
        return value

    def require_finite(self) -> None:
        sums = {name: float(local(tensor).sum()) for name, tensor in weights(self.model).items()}
        for name, total in zip(sums, self.group.total(*sums.values()), strict=True):
            self.finite(name, total)

    @contextmanager
    def idle(self) -> Iterator[None]:
        """Count the time of this block as not spent on training; the device finishes its training work first."""
        self.fetch_losses()
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.at.idle_seconds += time.perf_counter() - begin
