"""Sentences about the cost of reaching a loss."""

from leanformer.reporting.analysis.ratios import Ratio
from leanformer.reporting.numbers.quantities import fixed, p_value, several
from leanformer.reporting.records.study import Study


def tokens_sentence(ratio: Ratio, study: Study) -> str:
    """ "To reach 1.38 nats it needs 0.87 times dot_product's tokens, 95 % CI 0.80 to 0.95, 5 seeds (Holm p = 0.01)" """
    goal, total = f"{fixed(ratio.target.loss, 3)} nats", len(ratio.seeds)
    if ratio.ratio is None:
        ours, theirs = ratio.arrived
        if ours == theirs == total:
            return f"A run had reached {goal} at its first validation already, so the tokens it took are not known."
        return (
            f"A loss of {goal} is reached within the budget by {ours} of its {total} runs and {theirs} of "
            f"{study.baseline}'s, so the ratio of their tokens has no mean and no p-value."
        )
    said = f"To reach {goal} it needs {fixed(ratio.ratio, 2)} times {study.baseline}'s tokens"
    seeds = several(total, "seed")
    if ratio.ci95 is None or ratio.log.p_value_holm is None:
        return f"{said}, {seeds} ({ratio.log.note})."
    low, high = (fixed(end, 2) for end in ratio.ci95)
    undecided = ", undecided" if ratio.verdict == "undecided" else ""
    return f"{said}, 95 % CI {low} to {high}, {seeds} (Holm p {p_value(ratio.log.p_value_holm)}{undecided})."
