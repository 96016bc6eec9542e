"""What a study of robustness says in sentences."""

from collections import Counter

from leanformer.reporting.analysis.pairing import unequal_makers
from leanformer.reporting.numbers.quantities import fixed, listed, percent, several
from leanformer.reporting.numbers.statistics import DECIDED
from leanformer.robustness.findings import CLEAN, Effect, Findings
from leanformer.robustness.plan import LABELS, SIZES, TRANSFER

CAUSES = {LABELS: "wrong labels", SIZES: "few training examples", TRANSFER: "another domain"}
"""To which something is lost, where the axis is not the word for it."""


def asked(findings: Findings) -> str:
    study, plan = findings.study, findings.plan
    parts = []
    if plan.noises:
        levels = ", ".join(f"{level:g}" for level in sorted(set(plan.levels)) if level)
        parts.append(f"tested on texts with {listed(plan.noises)} (each word is chosen with probability {levels})")
    if plan.transfer:
        parts.append(f"tested on {listed(plan.transfer)}")
    if plan.label_noise:
        parts.append(f"trained with wrong labels (shares {', '.join(f'{share:g}' for share in plan.label_noise)})")
    if plan.train_sizes:
        parts.append(f"trained on {', '.join(f'{size:,}' for size in plan.train_sizes)} examples")
    return (
        f"How do the scores of {listed(list(study.attention))} hold? Each pre-trained model was fine-tuned on "
        f"{listed(plan.tasks)} with {several(plan.seeds, 'seed')}, and {'; '.join(parts)}. Noise, wrong labels and the "
        "choice of examples are functions of seeds and example, so runs of one seed read the same and are compared in "
        "pairs. A drop is the score on clean text after training on all the clean data, minus the score."
    )


def headline(findings: Findings) -> str:
    """Which mechanisms lose more or less than the baseline, by the means over the axes."""
    drops = [effect for effect in findings.effects if effect.at is None and effect.measure == "drop"]
    tested = [effect for effect in drops if effect.difference.p_value is not None and effect.informative]
    if not tested and any(not effect.informative for effect in drops):
        return "Not testable: the models do no better on clean text than a constant answer."
    if not tested:
        return "Nothing is compared: that needs a baseline and two pre-training seeds of another mechanism."
    said = [_sentence(effect, findings) for effect in tested if effect.verdict in DECIDED]
    if not said:
        return f"No difference is shown: {_rest(tested)} with {findings.study.baseline}."
    rest = _rest([effect for effect in tested if effect.verdict not in DECIDED])
    return f"{listed(said)}{'; ' if rest else ''}{rest}."


def _rest(effects: list[Effect]) -> str:
    """How many comparisons of what is lost have each of the other verdicts."""
    number = Counter(str(effect.verdict) for effect in effects)
    return listed([f"{several(times, 'comparison')} of what is lost {verdict}" for verdict, times in number.items()])


def _sentence(effect: Effect, findings: Findings) -> str:
    amount = fixed(100 * abs(effect.difference.mean or 0.0), 1)
    less = "less" if effect.verdict == "better" else "more"
    cause = CAUSES.get(effect.axis, effect.axis)
    return f"{effect.attention} loses {amount} points {less} than {findings.study.baseline} to {cause} on {effect.task}"


def caveats(findings: Findings) -> list[str]:
    study, plan = findings.study, findings.plan
    out = list(study.warnings)
    for paired in findings.pairs.values():
        out += [*paired.refused, *paired.doubts]
    out += unequal_makers(study.runs)
    out += [f"{one}." for one in findings.failed]
    out += _collapsed(findings)
    out += _idle(findings)
    out += [sentence for task in plan.tasks for noise in plan.functions for sentence in _changed(findings, task, noise)]
    out.append(
        "A model that scores little on clean text has little to lose: read a smaller drop beside the score, not alone."
    )
    if any(len(study.at(name)) < 3 for name in study.attention):
        out.append("Fewer than three pre-training seeds a mechanism: intervals are wide or absent.")
    return out


def _idle(findings: Findings) -> list[str]:
    """Returns sentences on mechanisms that have nothing to lose."""
    return [
        f"{name} scores {fixed(100 * clean, 1)} on clean {task}, the best constant answer "
        f"{fixed(100 * constant, 1)}: its drop is not informative."
        for task, constant in findings.constant.items()
        for name in findings.study.attention
        if constant is not None
        and (clean := findings.spread(task, name, []).mean) is not None
        and not findings.informed(task, name)
    ]


def _changed(findings: Findings, task: str, noise: str) -> list[str]:
    """Returns a sentence where much less is changed than was touched."""
    shares = {point.at: share for (of, point), share in findings.changed.items() if (of, point.axis) == (task, noise)}
    if all(share > 0.9 * float(level) for level, share in shares.items()):
        return []
    listing = ", ".join(f"{percent(share)} at {level:g}" for level, share in shares.items())
    return [f"Of the words of {task}, {noise} changed {listing}, since it cannot change some words."]


def _collapsed(findings: Findings) -> list[str]:
    out = []
    for task in findings.plan.tasks:
        for name in findings.study.attention:
            found = [c for (at, of, _), s in findings.scores.items() if (at, of) == (task, name) for c in s.collapsed]
            if found:
                where = listed(sorted({CLEAN if c is None else f"{c.axis} {c.at:g}" for c in found}))
                out.append(
                    f"{several(len(found), 'fine-tuning')} of {name} on {task} collapsed to one answer ({where}): a "
                    "failed training, kept in the means. Noise cannot lower the score of such a model."
                )
    return out
