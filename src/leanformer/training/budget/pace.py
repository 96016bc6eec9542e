"""How long training takes on this machine.

    seconds(D tokens in S steps) = a D + b S + a V / 3        V tokens of held-out text in validations and scores

a is the time of a token's forward and backward pass, data and masks included, and b that of clipping and an update. A
forward pass alone is a third of both passes. a and b are measured with the run's own micro-batch, precision and
threads, after a step that is not counted; on a CPU, where larger ones are no faster, with 32 sequences at most. For
another size, a changes with the FLOPs of a token and b with the number of parameters. Starting Python, reading the text
once and `torch.compile` are not in it.
"""

from dataclasses import dataclass, replace
from typing import Any

import torch

from leanformer.data.corpus import Prepared
from leanformer.models.cost import ledger
from leanformer.settings import Settings, TrainingSettings
from leanformer.training.machine.hardware import prepare_cpu
from leanformer.training.machine.timing import seconds_of_a_step, seconds_of_an_update
from leanformer.training.objectives.protocol import PretrainingObjective
from leanformer.training.objectives.sequences import SequenceObjective
from leanformer.training.objectives.table import OBJECTIVES, model_config
from leanformer.training.optimizers.schedule import VALIDATIONS
from leanformer.training.run.scores import plans

MEASURED_SEQUENCES = 32
LEAST_SECONDS = 1.0
"""The least time for which passes are measured."""


@dataclass(frozen=True)
class Pace:
    token: float
    """a, seconds."""
    update: float
    """b, seconds."""
    flops: float
    """Training FLOPs per token of the model that was timed."""
    parameters: int

    def at(self, flops: float, parameters: int) -> "Pace":
        """Returns the pace of a model of another size."""
        return Pace(self.token * flops / self.flops, self.update * parameters / self.parameters, flops, parameters)

    def seconds(self, tokens: float, steps: float, held_out: float) -> float:
        return self.token * (tokens + held_out / 3) + self.update * steps


def cost(settings: Settings, corpus: Prepared) -> tuple[float, int]:
    """Returns the training FLOPs per token and the number of parameters of the model of these settings."""
    training = settings.training
    objective = OBJECTIVES[training.objective].objective(corpus, _middle(settings), 1)
    model = model_config(settings, corpus)
    counted = ledger(model, training.sequence_length, objective.scored, training.objective)
    return counted["flops_per_token"]["training"], counted["parameters"]["total"]


def measure(settings: Settings, corpus: Prepared) -> Pace:
    """Time some steps of this model on this machine."""
    training, kind = settings.training, OBJECTIVES[settings.training.objective]
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    before = torch.get_num_threads()
    prepare_cpu(training.threads)
    try:
        objective = kind.objective(corpus, _middle(settings), 1)
        objective.cache_on_device(device)
        with device:
            model = kind.model(model_config(settings, corpus)).train()
        learner: Any = torch.compile(model, dynamic=False) if training.compile else model

        def loss() -> torch.Tensor:
            (batch,) = objective.micro_batches(1, 0, 1)
            return objective.loss_sum(learner, {name: tensor.to(device) for name, tensor in batch.items()})

        passes = seconds_of_a_step(loss, training.precision, device, LEAST_SECONDS)
        update = seconds_of_an_update(model, training, device)
    finally:
        torch.set_num_threads(before)
    flops, parameters = cost(settings, corpus)
    return Pace(passes / objective.tokens(1), update, flops, parameters)


def _middle(settings: Settings) -> TrainingSettings:
    """Returns a run of two steps of one micro-batch each: at the second, masks are half-way through their change."""
    training = settings.training
    size = min(training.batch_size, training.micro_batch_size or training.batch_size)
    size = size if torch.cuda.is_available() else min(size, MEASURED_SEQUENCES)
    return replace(
        training,
        batch_size=size,
        micro_batch_size=None,
        first_batch_size=None,
        max_steps=2,
        max_tokens=None,
        max_seconds=None,
        score_at=None,
    )


def held_out_tokens(objective: PretrainingObjective, settings: Settings) -> int:
    """Returns V: the tokens of all validations and of all scores during the run and at its end."""
    training = settings.training
    assert isinstance(objective, SequenceObjective) and objective.total_steps is not None
    interval = training.validate_every
    validations = VALIDATIONS if interval is None else objective.total_steps // interval
    scored = sum(len(ids) * draws for _, _, ids, draws in plans(objective, training.score_targets))
    scores = 1 + sum(number != training.max_tokens for number in training.score_at or [])
    return training.sequence_length * (validations * len(objective.validation_ids) + scores * scored)
