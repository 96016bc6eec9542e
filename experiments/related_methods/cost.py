"""Core-minutes of the pieces of the protocol: FLOPs over the speed of a training step, measured on this machine.

The cost of a method beside plain fine-tuning, and of entity linking beside its products, was measured in a trial.
"""

import time
from functools import cache

from benchmarks.protocol import training_speed
from experiments.related_methods.plan import STAGES, Piece, Protocol, stage
from leanformer.comparison.estimate import PROCESS_SECONDS, words_to_tokens
from leanformer.data.examples import load
from leanformer.data.tasks import task as find_task
from leanformer.linking.settings import KINDS
from leanformer.models.cost import ledger
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


def minutes(p: Protocol) -> list[tuple[str, Piece, float]]:
    """(stage, piece, core-minutes) of what is still to be done."""
    training = p.settings.training
    costs = ledger(model_config(p.settings, p.corpus), training.sequence_length, MaskedLM(p.corpus, training).scored)
    began = time.perf_counter(), time.process_time()
    speed = training_speed(p.settings, p.corpus, p.threads)
    share = (time.process_time() - began[1]) / (time.perf_counter() - began[0]) / p.threads
    pretraining = speed / min(1.0, share) / costs["flops_per_token"]["training"]  # whatever else the machine does
    tuning = ledger(model_config(p.settings, p.corpus), 32, 0)["flops_per_token"]["training"]
    tuning = pretraining * costs["flops_per_token"]["training"] / tuning / SHORT
    return [
        (name, piece, _seconds(p, piece, pretraining, tuning) / 60)
        for name in STAGES
        for piece in stage(p, name)
        if not piece.finished(p.out)
    ]


def _seconds(p: Protocol, piece: Piece, pretraining: float, tuning: float) -> float:
    """`pretraining` and `tuning` are tokens a second."""
    work = piece.work
    if "tokens" in work:
        return work["tokens"] / pretraining + work.get("runs", 1) * PROCESS_SECONDS
    if "rounds" in work:
        return (2 + work["rounds"]) * ROUND_SECONDS
    if "corpus" in work:
        learned = sum(work["encoders"][kind] * work["epochs"][kind] * EPOCH_SECONDS[kind] for kind in KINDS)
        return PROCESS_SECONDS + work["seeds"] * (learned + sum(work["encoders"].values()) * INDEX_SECONDS)
    read, judged = _tokens(work["task"], p.task_data, work["length"], work["examples"], p.sizes.of("judged"))
    kept = sum(work["imbalance"] ** -share for share in (0.0, 0.5, 1.0)) / 3
    times = sum(max([METHODS.get(each, 1.0) for each in own], default=1.0) for own in piece.row["ways"].values())
    one = (kept * work["epochs"] * read + judged / 3) / tuning + 1.0
    return PROCESS_SECONDS + work["seeds"] * times * one


@cache
def _tokens(task: str, where: str, length: int, examples: int, judged: int) -> tuple[float, float]:
    """Of the training examples that are used, and of those that are scored."""
    train, validation = load(find_task(task), where)
    scored = (words_to_tokens(part.subset(judged).texts, length) for part in validation.values())
    return words_to_tokens(train.subset(examples).texts, length), sum(scored)
