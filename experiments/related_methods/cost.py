"""Core-minutes of the jobs of the protocol: FLOPs over the speed of a training step, measured on this machine.

The cost of a method beside plain fine-tuning, and of entity linking beside its products, was measured in a trial.
"""

import time
from functools import cache

from experiments.related_methods.plan import STAGES, MethodJob, Protocol, stage
from leanformer.data.tasks import task as find_task
from leanformer.linking.settings import KINDS
from leanformer.models.cost import ledger
from leanformer.settings import FinetuningSettings
from leanformer.study.estimate import PROCESS_SECONDS, Reading, reading
from leanformer.training.objectives.masked_lm import MaskedLM
from leanformer.training.objectives.table import model_config

METHODS = {"method=pst": 1.35, "method=magnitude": 1.35}
"""Times the seconds of plain fine-tuning."""
SHORT = 1.7
"""Times what the FLOPs of plain fine-tuning would take: its batches are small."""
ROUND_SECONDS = 75.0
"""Of a round of all lengths and mixers, of a core."""
EPOCH_SECONDS = {"transformer": 21.0, "rescnn": 11.0}
"""Of entity linking, per corpus."""
INDEX_SECONDS = 40.0
"""Of the vectors of a dictionary's names, an encoder."""


def minutes(p: Protocol) -> list[tuple[str, MethodJob, float]]:
    """(stage, piece, core-minutes) of what is still to be done."""
    training = p.settings.training
    costs = ledger(model_config(p.settings, p.corpus), training.sequence_length, MaskedLM(p.corpus, training).scored)
    began = time.perf_counter(), time.process_time()
    speed = p.flops_per_second(p.threads)
    share = (time.process_time() - began[1]) / (time.perf_counter() - began[0]) / p.threads
    pretraining = speed / min(1.0, share) / costs["flops_per_token"]["training"]  # whatever else the machine does
    tuning = ledger(model_config(p.settings, p.corpus), 32, 0)["flops_per_token"]["training"]
    tuning = pretraining * costs["flops_per_token"]["training"] / tuning / SHORT
    return [
        (name, job, _seconds(p, job, pretraining, tuning) / 60)
        for name in STAGES
        for job in stage(p, name)
        if not job.finished
    ]


def _seconds(p: Protocol, job: MethodJob, pretraining: float, tuning: float) -> float:
    """`pretraining` and `tuning` are tokens a second."""
    work = job.work
    if "tokens" in work:
        return work["tokens"] / pretraining + work.get("runs", 1) * PROCESS_SECONDS
    if "rounds" in work:
        return (2 + work["rounds"]) * ROUND_SECONDS
    if "corpus" in work:
        learned = sum(work["encoders"][kind] * work["epochs"][kind] * EPOCH_SECONDS[kind] for kind in KINDS)
        return PROCESS_SECONDS + work["seeds"] * (learned + sum(work["encoders"].values()) * INDEX_SECONDS)
    read = _reading(work["task"], p.task_data, work["length"], work["examples"], p.sizes.of("judged"))
    kept = sum(work["imbalance"] ** -share for share in (0.0, 0.5, 1.0)) / 3
    times = sum(max([METHODS.get(each, 1.0) for each in own], default=1.0) for own in job.row["ways"].values())
    one = read.training(kept * work["epochs"]) / tuning + 1.0
    return PROCESS_SECONDS + work["seeds"] * times * one


@cache
def _reading(task: str, where: str, length: int, examples: int, judged: int) -> Reading:
    limits = FinetuningSettings(max_length=length, max_train_examples=examples, max_eval_examples=judged)
    return reading(find_task(task), where, limits)
