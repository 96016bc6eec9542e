"""Arms that have as much of something as another arm: the size, or the length of training, is found, not typed.

    dot_product[parameters=shared]    intermediate_size such that the models have equally many parameters
    dot_product[width=shared]         hidden_size and intermediate_size in proportion to the former, likewise
    shared[flops=dot_product]         a budget such that training takes equally many FLOPs

All by the closed forms of `models/cost.py`. Parameters P are linear in the intermediate size I, P(I) = P(0) + s I, so
that the nearest I leaves at most s / 2 of a difference. The width moves in steps of the number of heads (twice that for
rotary positions and for convolution beside attention; 1 with a head size of its own); the intermediate size, in
proportion at first, takes up what is left. Groups of the feed-forward layer stay whole.
The budget, in steps or tokens, is the comparison's times the other arm's training FLOPs a token over this arm's: at
most one step off.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import replace
from math import lcm
from typing import Any

from leanformer.comparison.plan import PlannedRun
from leanformer.comparison.variants import Variant
from leanformer.data.corpus import Prepared
from leanformer.models import LeanformerConfig
from leanformer.models.cost import ledger
from leanformer.settings import Settings
from leanformer.training.objectives.table import OBJECTIVES, model_config

BUDGETS = ("max_steps", "max_tokens", "max_seconds")


def matched(variants: Sequence[Variant], settings: Settings, data: Prepared) -> tuple[list[Variant], list[str]]:
    """The variants, those with a `match` with what was found for it in `model` and `training`; and a line on each."""
    notes: list[str] = []
    return [_matched(variant, settings, data, notes) for variant in variants], notes


def _matched(variant: Variant, settings: Settings, data: Prepared, notes: list[str]) -> Variant:
    for key, find in (("parameters", _feed_forward), ("width", _width)):
        if key in variant.match:
            head = settings.training.objective
            own, wanted = (
                _config(variant, settings, data),
                _parameters(_config(variant.match[key], settings, data), head),
            )
            sizes = find(variant, own, wanted, head)
            variant = replace(variant, model=variant.model | sizes)
            found = ", ".join(f"model.{name} = {size}" for name, size in sizes.items())
            have = _parameters(_config(variant, settings, data), head)
            notes.append(f"{variant.label}: {found}, {have:,} parameters; {variant.match[key].label} has {wanted:,}")
    if "flops" in variant.match:
        budget = _budget(variant, settings, data)
        variant = replace(variant, training=variant.training | budget)
        (found,) = (f"training.{key} = {value:,}" for key, value in budget.items())
        notes.append(f"{variant.label}: {found}, for as many training FLOPs as {variant.match['flops'].label}")
    return variant


def _feed_forward(variant: Variant, own: LeanformerConfig, wanted: int, head: str) -> dict[str, int]:
    size, step = own.intermediate_size, own.feed_forward_groups
    slope = _parameters(_sized(own, intermediate_size=size + step), head) - _parameters(own, head)
    if not slope:
        raise ValueError(
            f"{variant.label}: block {own.block!r} has no feed-forward layer whose size could be found: give its "
            "sizes yourself"
        )
    size += step * round((wanted - _parameters(own, head)) / slope)
    if size < 1:
        raise ValueError(
            f"{variant.label}: even without feed-forward layers the model has more than {wanted:,} parameters: "
            "narrow it as a whole, by width= instead of parameters="
        )
    return {"intermediate_size": size}


def _width(variant: Variant, own: LeanformerConfig, wanted: int, head: str) -> dict[str, int]:
    twice = own.positions == "rotary" or own.mixer == "convolution"
    groups = own.feed_forward_groups
    step = lcm(1 if own.head_size else own.num_attention_heads * (2 if twice else 1), groups)

    def sizes(steps: int) -> dict[str, int]:
        width = step * steps
        inner = groups * max(1, round(own.intermediate_size * width / own.hidden_size / groups))
        return {"hidden_size": width, "intermediate_size": inner}

    def parameters(steps: int) -> int:
        return _parameters(_sized(own, **sizes(steps)), head)

    above = bisect_left(range(1, 2**20 // step), wanted, key=parameters) + 1
    nearest = min({max(1, above - 1), above}, key=lambda steps: abs(parameters(steps) - wanted))
    narrow = sizes(nearest)
    return narrow | _feed_forward(variant, _sized(own, **narrow), wanted, head)


def _budget(variant: Variant, settings: Settings, data: Prepared) -> dict[str, int]:
    if own := [key for key in BUDGETS if key in variant.training]:
        raise ValueError(f"{variant.label}: flops= finds the budget, and training.{own[0]} sets it: leave one out")
    training = settings.training
    if training.max_seconds is not None:
        raise ValueError(f"{variant.label}: equal FLOPs need a budget in steps or tokens, not training.max_seconds")
    scored = OBJECTIVES[training.objective].objective(data, training, 1).scored

    def flops(arm: Variant) -> float:
        costs = ledger(_config(arm, settings, data), training.sequence_length, scored, training.objective)
        return costs["flops_per_token"]["training"]

    ratio = flops(variant.match["flops"]) / flops(variant)
    if training.max_tokens is not None:
        return {"max_tokens": round(training.max_tokens * ratio)}
    return {"max_steps": round((training.steps(1) or 0) * ratio)}


def _config(variant: Variant, settings: Settings, data: Prepared) -> LeanformerConfig:
    run = PlannedRun(variant=variant, seed=1, learning_rate=1.0, path="")
    return model_config(run.settings(settings), data)


def _sized(config: LeanformerConfig, **sizes: Any) -> LeanformerConfig:
    return LeanformerConfig.from_dict(config.to_dict() | sizes)


def _parameters(config: LeanformerConfig, head: str) -> int:
    return ledger(config, 1, head=head)["parameters"]["total"]
