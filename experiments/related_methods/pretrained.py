"""Tables of what is pre-trained side by side: ConvBERT's parts, and clustered memory."""

from statistics import fmean
from typing import Any

from benchmarks.cells import NONE, mean_sd
from experiments.related_methods.plan import ARMS, BASES, CLUSTERS, CONV, GROUPS
from experiments.related_methods.statistics import (
    NATS,
    Quality,
    System,
    by_seed,
    differences,
    in_order,
    interval,
    quality,
    ratio,
    where,
    words,
)  # fmt: skip
from leanformer.report.numbers.quantities import listed, memory
from leanformer.report.numbers.statistics import PairedDifference
from leanformer.report.render.document import Table

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
MOST = 0.5
"""Of what a reference learned from context: who loses more has saved nothing worth having."""


def short(label: str) -> str:
    for long, name in ((CONV, "mixer"), (GROUPS, "2 groups"), ("parameters=", "size of ")):
        label = label.replace(long, name)
    return label.replace("model.mixer=clusters,model.mixer_options.", "clusters, ")


def convbert(record: dict[str, Any]) -> System:
    rows = where(record["rows"], status="finished")
    found = differences([_losses(rows, *pair) for pair in PAIRS.values()])
    told, here, table = [], {}, []
    for (name, (arm, reference)), of in zip(PAIRS.items(), found, strict=True):
        ours, theirs = where(rows, attention=arm), where(rows, attention=reference)
        if not ours or not theirs:
            continue
        seconds, size = (ratio(ours, theirs, lambda row, key=key: row[key]) for key in ("seconds", "parameters"))
        judged = _judged(of, theirs)
        cost, what = (size, "parameters") if judged != "better" and GROUPS in arm else (seconds, "time")
        said = _worth(judged, of, theirs, cost, what)
        told.append(f"{name}: {said}")
        here[name] = f"loss {interval(of, digits=3)[0]}, {seconds:.2f} of the seconds, {size:.3f} of the parameters"
        table.append([name, f"{short(arm)} to {short(reference)}", *interval(of, digits=3), f"{seconds:.2f}",
                      f"{size - 1:+.1%}", said])  # fmt: skip
    here |= {"quality": here.get("mixer", NONE), "cost": here.get("both, same size", NONE)}
    if sizes := [where(rows, attention=arm) for arm in (MIXED, DENSE) if where(rows, attention=arm)]:
        here["parameters"] = " for ".join(f"{each[0]['parameters']:,}" for each in sizes) + ", the whole model"
    against = Table(["", "arms", *LOSS, "seconds", "parameters", "rule"], table, "llrrrrrw",
                    "Differences paired by seed; seconds and parameters are ratios of means.")  # fmt: skip
    return System("ConvBERT", "; ".join(told) or "not measured yet", here, [_compared(rows), against])


def clusters(record: dict[str, Any]) -> System:
    rows = where(record["rows"], kind="compared", status="finished")
    timed = where(record["rows"], kind="timed")
    arms = [arm for arm in CLUSTERS if where(timed, attention=arm) or where(rows, attention=arm)]
    found = differences([_losses(rows, arm, DENSE) for arm in arms])
    dense = where(rows, attention=DENSE)
    told, losses, cost, compared = [], [], [], []
    for arm, of in zip(arms, found, strict=True):
        judged = _judged(of, dense)
        if of.n:
            losses.append(f"{short(arm)}: loss {interval(of, digits=3)[0]}")
            compared.append([short(arm), *interval(of, digits=3), judged])
        own = where(timed, attention=arm)
        if own:
            longest = max(own, key=lambda row: row["length"])
            slower = 1 / longest["training"]["speed"]["median"]
            beside = _against_all(own, where(timed, attention=DENSE))
            cost.append(f"{short(arm)}: {beside}")
            worth = _worth(judged, of, dense, slower, "training time")
            told.append(f"{short(arm)}: {worth} ({beside})")
    tables = [
        _times(timed),
        _compared(rows),
        Table(["to dot_product", *LOSS, "verdict"], compared, "lrrrl", "Learned positions, short sequences."),
    ]
    here = {"quality": "masked-LM " + "; ".join(losses) if losses else NONE, "cost": "; ".join(cost) or NONE}
    return System("Clustered memory (ClusTR)", "; ".join(told) or "not measured yet", here, tables)


def _against_all(own: list[dict[str, Any]], dense: list[dict[str, Any]]) -> str:
    """Faster is what was faster in every round."""
    lengths = sorted(row["length"] for row in own)
    won = sorted(row["length"] for row in own if row["training"]["speed"]["low"] > 1)
    if not won:
        since = f"at no length up to {lengths[-1]:,}"
    elif won == lengths[-len(won) :]:
        since = f"from {won[0]:,} tokens on"
    else:
        since = f"at {listed([f'{length:,}' for length in won])} tokens alone"
    (longest,), (reference,) = where(own, length=lengths[-1]), where(dense, length=lengths[-1])
    inference = f"at {lengths[-1]:,} inference {longest['inference']['speed']['median']:.2f} times as fast"
    told = f"trains faster than attention to all tokens {since}, {inference}"
    if longest["peak_bytes"] is None:
        return told
    return f"{told} and {longest['peak_bytes'] / reference['peak_bytes']:.1f} times the memory in training"


def _judged(of: PairedDifference, reference: list[dict[str, Any]]) -> Quality:
    """Undecided where the reference has learned nothing from context: the same loss as without context is no merit."""
    if any(row["learned_from_context"] is False for row in reference):
        return "undecided"
    return quality(of, higher_is_better=False, margin=NATS)


def _worth(judged: Quality, of: PairedDifference, reference: list[dict[str, Any]], cost: float, what: str) -> str:
    """The words of the verdict; `floor` is the best loss without context."""
    floor = next((row["floor"] for row in reference if row.get("floor")), None)
    if judged == "worse" and of.mean is not None and floor is not None:
        lost = of.mean / (floor - fmean(row["final_loss"] for row in reference))
        if lost > MOST:
            learned = f"what {short(reference[0]['attention'])} learned from context"
            return f"{words(judged)}, {lost:.0%} of {learned} is lost"
    return words(judged, cost, what)


def _losses(rows: list[dict[str, Any]], arm: str, reference: str) -> tuple[dict[int, float], dict[int, float]]:
    both = (by_seed(where(rows, attention=label), "final_loss") for label in (arm, reference))
    ours, theirs = both
    return ours, theirs


def _compared(rows: list[dict[str, Any]]) -> Table:
    found = []
    for label in in_order(rows, "attention"):
        own = where(rows, attention=label)
        floor = sum(row["learned_from_context"] is False for row in own)
        found.append([short(label), f"{own[0]['parameters']:,}", mean_sd([row["final_loss"] for row in own], 1, 3),
                      mean_sd([row["seconds"] for row in own], 1, 0), str(floor or "")])  # fmt: skip
    floor = next((row["floor"] for row in rows if row.get("floor")), None)
    caption = "Held-out loss, nats" + (f"; without context {floor:.3f}" if floor else "")
    return Table(["", "parameters", "loss", "seconds", "no better than no context"], found, "lrrrr", f"{caption}.")


def _times(rows: list[dict[str, Any]]) -> Table:
    found = []
    for row in rows:
        cells = [f"{1000 * row[kind]['seconds']['median']:,.0f}" for kind in ("training", "inference")]
        speeds = [
            "{median:.2f} ({low:.2f} to {high:.2f})".format(**row[kind]["speed"]) for kind in ("training", "inference")
        ]
        peak = NONE if row["peak_bytes"] is None else memory(row["peak_bytes"])
        found.append([f"{row['length']:,}", short(row["attention"]), cells[0], speeds[0], cells[1], speeds[1], peak])
    header = ["tokens", "", "training, ms", "speed", "inference, ms", "speed", "memory"]
    return Table(header, found, "rlrrrrr", "A batch has as many tokens at every length.")
