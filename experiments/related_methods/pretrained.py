"""Tables of what is pre-trained side by side: ConvBERT's parts, and clustered memory."""

from collections.abc import Collection
from statistics import fmean

from benchmarks.cells import NONE, mean_sd
from experiments.related_methods.plan import ARMS, BASES, CLUSTERS, CONV, GROUPS
from experiments.related_methods.statistics import NATS, Quality, System, differences, interval, quality, words
from experiments.rows import Row, by_seed, in_order, range_of, ratio_of_means, where
from leanformer.reporting.numbers.quantities import listed, memory
from leanformer.reporting.numbers.statistics import PairedDifference
from leanformer.reporting.render.document import Table

DENSE = BASES[0]
MIXED, GROUPED, BOTH = ARMS[1:4]
PAIRS = {
    "mixer": (MIXED, DENSE),
    "grouped feed-forward": (GROUPED, DENSE),
    "both": (BOTH, DENSE),
    "mixer, same size": (MIXED, ARMS[4]),
    "both, same size": (BOTH, ARMS[5]),
    **{f"mixer, {name}": (f"{name}[{CONV}]", name) for name in ("symmetric", "pairwise", "shared")},
}
"""What is told of ConvBERT: an arm, and the one it is judged by."""
LOSS = ["loss to its reference [95 % CI]", "p, Holm", "seeds"]
STEPS = ("training", "inference")
MOST = 0.5
"""The largest fraction of what a reference learned from context that an arm with a worthwhile saving loses."""


def short(label: str) -> str:
    for long, name in ((CONV, "mixer"), (GROUPS, "2 groups"), ("parameters=", "size of ")):
        label = label.replace(long, name)
    return label.replace("model.mixer=clusters,model.mixer_options.", "clusters, ")


def convbert(record: Row) -> System:
    rows = where(record["rows"], status="finished")
    told, here, table = [], {}, []
    for (name, (arm, reference)), of in zip(PAIRS.items(), _differences(rows, PAIRS.values()), strict=True):
        ours, theirs = where(rows, attention=arm), where(rows, attention=reference)
        if not ours or not theirs:
            continue
        seconds, size = (ratio_of_means(ours, theirs, key) for key in ("seconds", "parameters"))
        smaller = _judged(of, theirs) != "better" and GROUPS in arm
        said = _worth(of, theirs, *((size, "parameters") if smaller else (seconds, "time")))
        cells = interval(of, digits=3)
        told.append(f"{name}: {said}")
        here[name] = f"loss {cells[0]}, {seconds:.2f} of the seconds, {size:.3f} of the parameters"
        arms = f"{short(arm)} to {short(reference)}"
        table.append([name, arms, *cells, f"{seconds:.2f}", f"{size - 1:+.1%}", said])
    here |= {"quality": here.get("mixer", NONE), "cost": here.get("both, same size", NONE)}
    if sizes := [f"{own[0]['parameters']:,}" for arm in (MIXED, DENSE) if (own := where(rows, attention=arm))]:
        here["parameters"] = " for ".join(sizes) + ", the whole model"
    caption = "Differences paired by seed; seconds and parameters are ratios of means."
    against = Table(["", "arms", *LOSS, "seconds", "parameters", "rule"], table, "llrrrrrw", caption)
    return System("ConvBERT", told, here, [_compared(rows), against])


def clusters(record: Row) -> System:
    rows = where(record["rows"], kind="compared", status="finished")
    timed = where(record["rows"], kind="timed")
    dense, known = where(rows, attention=DENSE), {row["attention"] for row in [*timed, *rows]}
    arms = [arm for arm in CLUSTERS if arm in known]
    told, losses, cost, compared = [], [], [], []
    for arm, of in zip(arms, _differences(rows, [(arm, DENSE) for arm in arms]), strict=True):
        own, cells = where(timed, attention=arm), interval(of, digits=3)
        if of.n:
            losses.append(f"{short(arm)}: loss {cells[0]}")
            compared.append([short(arm), *cells, _judged(of, dense)])
        if own:
            longest = max(own, key=lambda row: row["length"])
            beside = _against_all(own, where(timed, attention=DENSE, length=longest["length"]), longest)
            cost.append(f"{short(arm)}: {beside}")
            worth = _worth(of, dense, 1 / longest["training"]["speed"]["median"], "training time")
            told.append(f"{short(arm)}: {worth} ({beside})")
    tables = [
        _times(timed),
        _compared(rows),
        Table(["to dot_product", *LOSS, "verdict"], compared, "lrrrl", "Learned positions, short sequences."),
    ]
    here = {"quality": "masked-LM " + "; ".join(losses) if losses else NONE, "cost": "; ".join(cost) or NONE}
    return System("Clustered memory (ClusTR)", told, here, tables)


def _against_all(own: list[Row], reference: list[Row], longest: Row) -> str:
    """Faster is what was faster in every round."""
    lengths = sorted(row["length"] for row in own)
    won = sorted(row["length"] for row in own if row["training"]["speed"]["low"] > 1)
    if not won:
        since = f"at no length up to {lengths[-1]:,}"
    elif won == lengths[-len(won) :]:
        since = f"from {won[0]:,} tokens on"
    else:
        since = f"at {listed([f'{length:,}' for length in won])} tokens alone"
    inference = f"at {lengths[-1]:,} inference {longest['inference']['speed']['median']:.2f} times as fast"
    told = f"trains faster than attention to all tokens {since}, {inference}"
    if longest["peak_bytes"] is None:
        return told
    return f"{told} and {longest['peak_bytes'] / reference[0]['peak_bytes']:.1f} times the memory in training"


def _judged(of: PairedDifference, reference: list[Row]) -> Quality:
    """Undecided where the reference has learned nothing from context: the same loss as without context is no merit."""
    if any(row["learned_from_context"] is False for row in reference):
        return "undecided"
    return quality(of, higher_is_better=False, margin=NATS)


def _worth(of: PairedDifference, reference: list[Row], cost: float, what: str) -> str:
    """The words of the verdict."""
    judged, floor = _judged(of, reference), _floor(reference)
    if judged == "worse" and of.mean is not None and floor is not None:
        lost = of.mean / (floor - fmean(row["final_loss"] for row in reference))
        if lost > MOST:
            learned = f"what {short(reference[0]['attention'])} learned from context"
            return f"{words(judged)}, {lost:.0%} of {learned} is lost"
    return words(judged, cost, what)


def _floor(rows: list[Row]) -> float | None:
    """The best loss without context."""
    return next((row["floor"] for row in rows if row.get("floor")), None)


def _differences(rows: list[Row], pairs: Collection[tuple[str, str]]) -> list[PairedDifference]:
    losses = {arm: by_seed(where(rows, attention=arm), "final_loss") for pair in pairs for arm in pair}
    return differences((losses[arm], losses[reference]) for arm, reference in pairs)


def _compared(rows: list[Row]) -> Table:
    found = []
    for label in in_order(rows, "attention"):
        own = where(rows, attention=label)
        loss, seconds = ([row[key] for row in own] for key in ("final_loss", "seconds"))
        stuck = len(where(own, learned_from_context=False))
        cells = [mean_sd(loss, 1, 3), mean_sd(seconds, 1, 0), str(stuck or "")]
        found.append([short(label), f"{own[0]['parameters']:,}", *cells])
    floor = _floor(rows)
    caption = "Held-out loss, nats" + (f"; without context {floor:.3f}" if floor else "")
    return Table(["", "parameters", "loss", "seconds", "no better than no context"], found, "lrrrr", f"{caption}.")


def _times(rows: list[Row]) -> Table:
    found = []
    for row in rows:
        timed = [(1000 * row[step]["seconds"]["median"], range_of(row[step]["speed"])) for step in STEPS]
        cells = [cell for milliseconds, speed in timed for cell in (f"{milliseconds:,.0f}", speed)]
        peak = NONE if row["peak_bytes"] is None else memory(row["peak_bytes"])
        found.append([f"{row['length']:,}", short(row["attention"]), *cells, peak])
    header = ["tokens", "", "training, ms", "speed", "inference, ms", "speed", "memory"]
    return Table(header, found, "rlrrrrr", "A batch has as many tokens at every length.")
