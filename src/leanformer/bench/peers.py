"""`leanformer bench peers`: tokens per second of pre-training beside other projects, in one process, on one machine.

All train a masked LM of the same sizes on the same sequences with the same masks, batch, dropout and clipping. Ratios
of the tokens per second are taken within a round. `share_of_square` and `share_of_model` are useful FLOPs over the
machine's own (`peak.py`): the ledger's, whose head predicts the masked positions and no others; peers are counted as
`dot_product` of the same sizes, whatever else they compute.
"""

import gc
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from leanformer.bench import ours, peak, plain_loop, trainer
from leanformer.bench.entry import Race
from leanformer.bench.ours import Own
from leanformer.bench.rounds import alternate, many_graphs, ratio, spread
from leanformer.models import LeanformerConfig
from leanformer.models.cost import ledger
from leanformer.settings import TrainingSettings
from leanformer.spelling import suggest

Turn = Callable[[], float]

PEERS: dict[str, Callable[[Race, bool], float]] = {
    "bert": lambda race, bf16: trainer.turn(race, trainer.bert, bf16),
    "modernbert": lambda race, bf16: trainer.turn(race, trainer.modernbert, bf16),
    "modernbert-sparse": lambda race, bf16: trainer.turn(race, trainer.modernbert_sparse, bf16),
    "x-transformers": plain_loop.turn,
}


def check(peers: list[str]) -> None:
    for name in peers:
        if name not in PEERS:
            raise ValueError(f"--peers {name}: {suggest(name, PEERS)}")


def measure(
    race: Race,
    peers: list[str],
    own: Mapping[str, Own],
    precisions: list[str],
    rounds: int,
    tick: Callable[[], None],
) -> dict[str, Any]:
    """`machine`, `contestants` and `notes`; `own` are leanformer's, by label. A peer that fails is a note."""
    with many_graphs():
        return _measure(race, peers, own, precisions, rounds, tick)


def _measure(
    race: Race,
    peers: list[str],
    own: Mapping[str, Own],
    precisions: list[str],
    rounds: int,
    tick: Callable[[], None],
) -> dict[str, Any]:
    notes: list[str] = []
    turns: dict[str, Turn] = {}
    trial = replace(race, steps=1)
    configs = {label: one.config(race) for label, one in own.items()}
    plain = Own(model={}, training=TrainingSettings(), bf16=False).config(race)
    for name in peers:
        if name == "x-transformers" and (reason := plain_loop.lacking()):
            notes.append(f"{name}: {reason}")
            continue
        for precision in precisions:
            if reason := _fails(partial(_clean, partial(PEERS[name], trial, precision == "bf16"), race)):
                notes.append(f"{name} {precision}: left out, it fails ({reason})")
            else:
                turns[f"{name} {precision}"] = partial(PEERS[name], race, precision == "bf16")
    rivals = list(turns)
    turns |= {label: partial(ours.turn, race, one) for label, one in own.items()}
    machine = _machine(race, plain, precisions)
    taken = alternate({name: partial(_clean, turn, race) for name, turn in turns.items()}, rounds, tick)
    rates = {name: [race.tokens / seconds for seconds in values] for name, values in taken.items()}
    contestants = []
    for name, values in rates.items():
        counts = ledger(configs.get(name, plain), race.length, race.masked)
        precision = name.rpartition(" ")[2]
        useful = counts["flops_per_token"]["training"]
        shares = {
            f"share_of_{what}": spread([useful * value / machine[precision][what] for value in values])
            for what in ("square", "model")
        }
        contestants.append(
            {
                "name": name,
                "peer": name in rivals,
                "precision": precision,
                "parameters": None if name in rivals else counts["parameters"]["total"],
                "useful_flops_per_token": useful,
                "tokens_per_second": values,
                **shares,
                "speed": {other: ratio(values, rates[other]) for other in rates if other != name},
            }
        )
    return {"machine": machine, "contestants": contestants, "notes": notes}


def _machine(race: Race, config: LeanformerConfig, precisions: list[str]) -> dict[str, Any]:
    tokens, scored = race.batch * race.length, race.batch * race.masked
    dtypes = {precision: torch.bfloat16 if precision == "bf16" else None for precision in precisions}
    return {
        precision: peak.machine(race.device, dtype) | peak.model(config, tokens, scored, race.device, dtype)
        for precision, dtype in dtypes.items()
    }


def _clean(turn: Turn, race: Race) -> float:
    """A turn that leaves no memory behind; graphs stay, its next one need not compile them again."""
    seconds = turn()
    gc.collect()
    if race.device.type == "cuda":
        torch.cuda.empty_cache()
    return seconds


def _fails(turn: Turn) -> str | None:
    """Why the peer cannot run here, in one line."""
    try:
        turn()
    except Exception as error:
        return " ".join(f"{type(error).__name__}: {error}".split())[:200]
    return None
