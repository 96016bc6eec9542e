"""The tables of a record, for the terminal and for report.md. Absolute times are shown only for a GPU."""

from statistics import median
from typing import Any

from leanformer.bench.slopes import slopes
from leanformer.reporting.numbers.quantities import NONE, fixed, percent, scaled
from leanformer.reporting.render.document import Table

Record = dict[str, Any]


def tables(record: Record) -> list[Table]:
    return {"mechanisms": _mechanisms, "inference": _inference, "peers": _peers}[record["kind"]](record)


def on_gpu(record: Record) -> bool:
    return record["hardware"]["device"] == "cuda"


def shown(spread: dict[str, float]) -> str:
    """Returns text such as "1.29 (1.25-1.33)"."""
    return f"{fixed(spread['median'], 2)} ({fixed(spread['low'], 2)}\N{EN DASH}{fixed(spread['high'], 2)})"


def best_peer(record: Record) -> str | None:
    """The peer with the largest median."""
    rivals = [one for one in record["candidates"] if one["peer"]]
    return max(rivals, key=lambda one: median(one["tokens_per_second"]))["name"] if rivals else None


def _mechanisms(record: Record) -> list[Table]:
    found = []
    sizes = list(dict.fromkeys(row["size"] for row in record["rows"]))
    for size in sizes:
        rows = [row for row in record["rows"] if row["size"] == size]
        header = ["length", "mechanism", "training", "by FLOPs", "MFU", "inference", "by FLOPs", "padded", "memory"]
        header += ["ms a step"] if on_gpu(record) else []
        caption = (
            "Speed relative to the first mechanism of the length in the same round: median (lowest to highest). By "
            "FLOPs: what the matrix products alone would give. MFU: useful FLOPs of training over those of the "
            "machine's square product. Memory: a training step's peak above model, gradients and moments."
        )
        found.append(
            Table(
                header, [_row(row, record) for row in rows], "rl" + "r" * (len(header) - 2), f"Size {size}. {caption}"
            )
        )
    grown = slopes(record)
    found += [_growth(record)] if len(_points(record)) > 1 else []
    return found + ([] if grown is None else [grown])


def _inference(record: Record) -> list[Table]:
    header = ["size", "length", "mechanism", "precision", "/ fp32", "deviation"]
    rows = [
        [
            row["size"],
            f"{row['length']:,}",
            row["attention"],
            row["precision"],
            shown(row["speed"]),
            percent(row["deviation"]),
        ]
        for row in record["rows"]
    ]
    caption = (
        "Speed of the encoder relative to float32 in the same round: median (lowest to highest). Deviation: distance "
        "of the last states from those of float32, relative to their norm, weights untrained."
    )
    return [Table(header, rows, "lrllrr", caption)]


def _row(row: Record, record: Record) -> list[str]:
    training, inference, memory = row["training"], row["inference"], row["peak_bytes"]
    cells = [
        f"{row['length']:,}",
        row["attention"],
        shown(training["speed"]),
        fixed(training["speed_by_flops"], 2),
        percent(training["share_of_square"]["median"]),
        shown(inference["speed"]),
        fixed(inference["speed_by_flops"], 2),
        shown(row["inference_padded"]["speed"]),
        NONE if memory is None else f"{memory / 2**20:,.0f} MiB",
    ]
    return cells + ([fixed(1000 * training["seconds"]["median"], 2)] if on_gpu(record) else [])


def _points(record: Record) -> list[tuple[str, int]]:
    return list(dict.fromkeys((row["size"], row["length"]) for row in record["rows"]))


def growth(record: Record, row: Record) -> tuple[float, float]:
    """Returns the training cost per token relative to the first row, in time and in FLOPs."""
    first = record["rows"][0]
    seconds = [
        cell_row["training"]["seconds"]["median"] / (cell_row["batch"] * cell_row["length"])
        for cell_row in (row, first)
    ]
    flops = [cell_row["flops_per_token"]["training"] for cell_row in (row, first)]
    return seconds[0] / seconds[1], flops[0] / flops[1]


def _growth(record: Record) -> Table:
    points = _points(record)
    names = list(dict.fromkeys(row["attention"] for row in record["rows"]))
    at = {(row["attention"], row["size"], row["length"]): row for row in record["rows"]}
    rows = []
    for name in names:
        pairs = [growth(record, at[name, *point]) if (name, *point) in at else None for point in points]
        rows.append([name, *(NONE if pair is None else f"{fixed(pair[0], 2)} ({fixed(pair[1], 2)})" for pair in pairs)])
    caption = f"A token's cost in training, relative to {names[0]} in the first column: time (FLOPs)."
    return Table(
        ["mechanism", *(f"{size}, {length:,}" for size, length in points)], rows, "l" + "r" * len(points), caption
    )


def _peers(record: Record) -> list[Table]:
    """Returns all candidates against the first and the best peer, leanformer's against their first; then all pairs."""
    candidates = record["candidates"]
    first, best = candidates[0]["name"], best_peer(record)
    against = list(dict.fromkeys(name for name in (first, best) if name is not None))
    baselines: dict[str, Record] = {}
    for candidate in candidates:
        if not candidate["peer"]:
            baselines.setdefault(candidate["precision"], candidate)
    several = len([candidate for candidate in candidates if not candidate["peer"]]) > len(baselines)
    header = ["candidate", *(f"/ {name}" for name in against)] + ["/ first of its own"] * several
    header += ["MFU", "of the model's products"] + ["tokens/s"] * on_gpu(record)
    rows = []
    for candidate in candidates:
        cells = [candidate["name"], *(_against(candidate, name) for name in against)]
        if several:
            cells.append(NONE if candidate["peer"] else _against(candidate, baselines[candidate["precision"]]["name"]))
        shares = [candidate[f"share_of_{what}"] for what in ("square", "model")]
        cells += [NONE if share is None else percent(share["median"]) for share in shares]
        cells += [scaled(median(candidate["tokens_per_second"]))] * on_gpu(record)
        rows.append(cells)
    named = "" if best is None else f" {best} is the fastest peer."
    note = " First of its own: leanformer's first mechanism in the same precision." if several else ""
    caption = (
        f"Tokens per second over those of {' and of '.join(against)} in the same round: median (lowest to "
        f"highest).{named}{note} MFU, of the model's products: useful FLOPs over those of a large square product, "
        "and of the model's own products each by itself, of the same precision."
    )
    found = [Table(header, rows, "l" + "r" * (len(header) - 1), caption)]
    rivals = [candidate["name"] for candidate in candidates if candidate["peer"]]
    if len(rivals) > len(against):
        pairs = [
            [candidate["name"], *(_against(candidate, name) for name in rivals)]
            for candidate in candidates
            if not candidate["peer"]
        ]
        found.append(Table(["candidate", *(f"/ {name}" for name in rivals)], pairs, "l" + "r" * len(rivals)))
    return found


def _against(one: Record, name: str) -> str:
    return shown(one["speed"][name]) if name in one["speed"] else "1"
