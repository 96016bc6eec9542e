"""Tables of entity linking: does it take a transformer?"""

import math
from statistics import fmean

from benchmarks.cells import NONE, mean_sd
from experiments.related_methods.plan import BASES
from experiments.related_methods.statistics import POINT, Quality, System, p_cell, together, words
from experiments.rows import Row, in_order, ratio_of_means, where
from leanformer.reporting.numbers.quantities import scaled
from leanformer.reporting.numbers.statistics import ALPHA, holm
from leanformer.reporting.render.document import Table

OURS, RESCNN, TRIGRAMS = BASES[0], "rescnn", "tfidf"
ASKED = ((RESCNN, OURS), (f"{RESCNN}-{OURS}", OURS), (RESCNN, TRIGRAMS), (OURS, TRIGRAMS), (BASES[1], OURS))
ACCURACIES = ("accuracy@1", "accuracy@5", "unlisted_accuracy@1")


def linking(record: Row) -> System:
    rows = where(record["rows"], kind="linked")
    tests, verdicts = _tests(where(record["rows"], kind="paired"), in_order(rows, "corpus"))
    told = []
    for (one, other), found in verdicts.items():
        said, cost, beside = together(found), 1.0, ""
        if other != TRIGRAMS:
            own, theirs = where(rows, encoder=one), where(rows, encoder=other)
            size, speed = (ratio_of_means(own, theirs, key) for key in ("without_embeddings", "names_per_second"))
            cost = 1 / speed
            beside = f" ({size:.2f} of the parameters without embeddings, {speed:.1f} times the names a second)"
        told.append(f"{one} against {other}: {said}, {words(said, cost, 'encoding time')}{beside}")
    sizes = where(rows, encoder=RESCNN)
    accuracy = {
        corpus: mean_sd([row["accuracy@1"] for row in where(sizes, corpus=corpus)], 100)
        for corpus in in_order(sizes, "corpus")
    }
    here = {
        "quality": ", ".join(f"{corpus} {found}" for corpus, found in accuracy.items()) or NONE,
        "cost": f"{sizes[0]['without_embeddings']:,} without embeddings" if sizes else NONE,
    }
    return System("ResCNN for entity linking", told, here, [_table(rows), tests])


def _tests(pairs: list[Row], corpora: list[str]) -> tuple[Table, dict[tuple[str, str], list[Quality]]]:
    """A difference holds if it does for every seed: p is the greatest over seeds, then Holm's over what is asked."""
    asked = [(corpus, *pair) for corpus in corpora for pair in ASKED]
    found = {key: own for key in asked if (own := where(pairs, corpus=key[0], encoder=key[1], other=key[2]))}
    corrected = holm([max(row["p_value"] for row in own) for own in found.values()])
    rows, verdicts = [], dict[tuple[str, str], list[Quality]]()
    for (key, own), p in zip(found.items(), corrected, strict=True):
        verdict = _quality(own, p or 0.0)
        verdicts.setdefault(key[1:], []).append(verdict)
        apart = [f"{fmean(row[side] for row in own):.0f}" for side in ("only", "only_other")]
        rows.append([*key, *apart, p_cell(p), str(len(own)), verdict])
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
    for corpus, name in dict.fromkeys((row["corpus"], row["encoder"]) for row in rows):
        own = where(rows, corpus=corpus, encoder=name)
        numbers = [mean_sd([row[key] for row in own if row[key] is not None], 100) for key in ACCURACIES]
        sizes = [f"{own[0][key]:,}" for key in ("parameters", "without_embeddings")]
        speed, seconds = (fmean(row[key] for row in own) for key in ("names_per_second", "training_seconds"))
        found.append([corpus, name, str(len(own)), *numbers, *sizes, scaled(speed), f"{seconds:,.0f}"])
    header = ["corpus", "encoder", "seeds", "@1", "@5", "unlisted @1", "parameters", "without embeddings", "names/s"]
    caption = "Accuracy in points, mean ± sd over seeds."
    return Table([*header, "training, s"], found, "llrrrrrrrr", caption)
