"""Tables of entity linking: does it take a transformer?"""

import math
from statistics import fmean
from typing import Any

from benchmarks.cells import NONE, mean_sd
from experiments.related_methods.plan import BASES
from experiments.related_methods.statistics import POINT, Quality, System, in_order, together, where, words
from leanformer.report.numbers.quantities import scaled
from leanformer.report.numbers.statistics import ALPHA, holm
from leanformer.report.render.document import Table

OURS, RESCNN = BASES[0], "rescnn"
ASKED = ((RESCNN, OURS), (f"{RESCNN}-{OURS}", OURS), (RESCNN, "tfidf"), (OURS, "tfidf"), (BASES[1], OURS))
Row = dict[str, Any]


def linking(record: Row) -> System:
    rows = where(record["rows"], kind="linked")
    pairs = where(record["rows"], kind="paired")
    corpora = in_order(rows, "corpus")
    tests, verdicts = _tests(pairs, corpora)
    told = []
    for one, other in ASKED:
        found = verdicts.get((one, other))
        if found:
            size, speed = (_ratio(rows, one, other, key) for key in ("without_embeddings", "names_per_second"))
            cost = 1 / speed if other != "tfidf" else 1.0
            told.append(f"{one} against {other}: {together(found)}, {words(together(found), cost, 'encoding time')}")
            if other != "tfidf":
                told[-1] += f" ({size:.2f} of the parameters without embeddings, {speed:.1f} times the names a second)"
    accuracy = {corpus: [row["accuracy@1"] for row in where(rows, corpus=corpus, encoder=RESCNN)] for corpus in corpora}
    sizes = where(rows, encoder=RESCNN)
    here = {
        "quality": ", ".join(f"{corpus} {mean_sd(found, 100)}" for corpus, found in accuracy.items() if found) or NONE,
        "cost": f"{sizes[0]['without_embeddings']:,} without embeddings" if sizes else NONE,
    }
    return System("ResCNN for entity linking", "; ".join(told) or "not measured yet", here, [_table(rows), tests])


def _tests(pairs: list[Row], corpora: list[str]) -> tuple[Table, dict[tuple[str, str], list[Quality]]]:
    """A difference holds if it does for every seed: p is the greatest over seeds, then Holm's over what is asked."""
    asked = [(corpus, *pair) for corpus in corpora for pair in ASKED]
    found = {key: where(pairs, corpus=key[0], encoder=key[1], other=key[2]) for key in asked}
    found = {key: own for key, own in found.items() if own}
    corrected = holm([max(row["p_value"] for row in own) for own in found.values()])
    rows, verdicts = [], dict[tuple[str, str], list[Quality]]()
    for (key, own), p in zip(found.items(), corrected, strict=True):
        verdict = _quality(own, p or 0.0)
        verdicts.setdefault(key[1:], []).append(verdict)
        apart = [f"{fmean(row[side] for row in own):.0f}" for side in ("only", "only_other")]
        rows.append([*key, *apart, "< 0.001" if p is not None and p < 0.001 else f"{p:.3f}", str(len(own)), verdict])
    header = ["corpus", "", "against", "alone right", "the other alone", "p, Holm", "seeds", "verdict"]
    caption = "McNemar's exact test over mentions, accuracy@1; of several seeds the greatest p, mentions are means."
    return Table(header, rows, "lllrrrrl", caption), verdicts


def _quality(rows: list[Row], p_value: float) -> Quality:
    """Not worse if the lower end of every seed's 95 % interval (Wald's, of paired shares) is within the margin."""
    gains = [row["only"] - row["only_other"] for row in rows]
    if p_value < ALPHA and (min(gains) > 0 or max(gains) < 0):
        return "better" if gains[0] > 0 else "worse"
    lowest = [
        (gain - 1.96 * math.sqrt(row["only"] + row["only_other"] - gain**2 / row["mentions"])) / row["mentions"]
        for gain, row in zip(gains, rows, strict=True)
    ]
    return "not worse" if min(lowest) >= -POINT else "undecided"


def _table(rows: list[Row]) -> Table:
    found = []
    for corpus in in_order(rows, "corpus"):
        for name in in_order(where(rows, corpus=corpus), "encoder"):
            own = where(rows, corpus=corpus, encoder=name)
            numbers = [mean_sd([row[key] for row in own if row[key] is not None], 100)
                       for key in ("accuracy@1", "accuracy@5", "unlisted_accuracy@1")]  # fmt: skip
            found.append([corpus, name, str(len(own)), *numbers, f"{own[0]['parameters']:,}",
                          f"{own[0]['without_embeddings']:,}", scaled(fmean(row["names_per_second"] for row in own)),
                          f"{fmean(row['training_seconds'] for row in own):,.0f}"])  # fmt: skip
    header = ["corpus", "encoder", "seeds", "@1", "@5", "unlisted @1", "parameters", "without embeddings", "names/s",
              "training, s"]  # fmt: skip
    return Table(header, found, "llrrrrrrrr", "Accuracy in points, mean ± sd over seeds.")


def _ratio(rows: list[Row], one: str, other: str, key: str) -> float:
    means = [fmean(row[key] for row in where(rows, encoder=name)) for name in (one, other)]
    return means[0] / means[1]
