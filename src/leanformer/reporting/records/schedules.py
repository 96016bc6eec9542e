"""How a point within a curve may be interpreted, which depends on the schedule of the learning rate.

A rate that falls to zero at the end of the budget lowers the loss there. A run that ended at a point within such a
curve would have had a lower loss, so the point cannot show that half the steps suffice; with a constant rate it can.
"""

from leanformer.reporting.numbers.quantities import listed, percent
from leanformer.reporting.records.study import Study

HALF = (
    "Half the steps can be shown by runs at a constant rate, before the decay of warmup_stable_decay, or by a run with "
    "a budget of its own, {name}[training.max_steps=...], against the baseline's whole one."
)


def schedule_notes(study: Study) -> list[str]:
    """Returns one sentence per schedule of the compared runs."""
    found: dict[tuple[str, float], list[str]] = {}
    for name in study.attention:
        for settings in (run.settings for run in study.at(name)):
            key = settings.get("training.schedule", ""), settings.get("training.decay") or 0.0
            found.setdefault(key, [])
            if name not in found[key]:
                found[key].append(name)
    name = next(iter(study.challengers), "dot_product")
    return [
        _note(schedule, decay, "" if len(found) == 1 else f" ({listed(names)})", name)
        for (schedule, decay), names in found.items()
        if schedule
    ]


def _note(schedule: str, decay: float, whose: str, name: str) -> str:
    if schedule == "linear":
        return (
            f"The learning rate follows a schedule that decays over this very budget ({schedule}){whose}, so a point "
            "within a curve is not what a shorter run would have reached: what it takes to a target holds for this "
            f"budget only. {HALF.format(name=name)}"
        )
    if schedule == "warmup_stable_decay":
        return (
            f"The learning rate is constant until the last {percent(decay, 0)} of the budget, in which it decays to "
            f"zero ({schedule}){whose}: crossings before that hold for longer budgets too, at the loss of a rate not "
            f"yet decayed; those within it hold for this budget only. {HALF.format(name=name)}"
        )
    return (
        f"The learning rate is constant after warm-up{whose}: a point within a curve is what a run of that length and "
        "the same warm-up reaches. A decay at the end would take all losses further down."
    )
