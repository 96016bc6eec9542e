"""How the cost of a token grows with the length and with the size of a model: slopes in log-log.

    slope = sum_i (u_i - mean u) (v_i - mean v) / sum_i (u_i - mean u)^2,    u = ln x,  v = ln cost per token

the exponent of the power law that fits best: 1 where the cost doubles with x, 0 where it stays. Beside the measured
slope stands that of the FLOPs in closed form over the same points. A lower measured one is usual, where other work than
products takes time at the small end; a higher one says that something grows faster than the products.
"""

from collections.abc import Sequence
from math import log
from typing import Any

from leanformer.reporting.numbers.quantities import fixed
from leanformer.reporting.render.document import Table

Record = dict[str, Any]
KINDS = ("training", "inference")
AXES = {"length": "size", "width": "length"}
"""What grows, and what is the same for all points of a slope. A wider size may be deeper, too."""


def slope(xs: Sequence[float], costs: Sequence[float]) -> float:
    """Returns the exponent of the least-squares power law; ValueError unless two of `xs` differ."""
    us, vs = [log(x) for x in xs], [log(cost) for cost in costs]
    mean_u, mean_v = sum(us) / len(us), sum(vs) / len(vs)
    spread = sum((u - mean_u) ** 2 for u in us)
    if not spread:
        raise ValueError("a slope needs two different points")
    return sum((u - mean_u) * (v - mean_v) for u, v in zip(us, vs, strict=True)) / spread


def slopes(record: Record) -> Table | None:
    """Returns a row for each mechanism and line of points; None if no two points differ in length or width alone."""
    rows = []
    for axis, same in AXES.items():
        lines: dict[tuple[str, Any], list[Record]] = {}
        for row in record["rows"]:
            lines.setdefault((row["attention"], row[same]), []).append(row)
        for (name, fixed_at), points in lines.items():
            xs = [point[axis] for point in points]
            if len(set(xs)) < 2:
                continue
            where = f"size {fixed_at}" if same == "size" else f"length {fixed_at:,}"
            cells = [name, where, f"{axis}, {min(xs):,} to {max(xs):,}"]
            for kind in KINDS:
                time = slope(xs, [_seconds(point, kind) for point in points])
                flops = slope(xs, [point["flops_per_token"][kind] for point in points])
                cells += [fixed(time, 2), fixed(flops, 2)]
            rows.append(cells)
    header = ["mechanism", "at", "over", "training", "by FLOPs", "inference", "by FLOPs"]
    caption = (
        "How a token's cost grows: slope of the median time in log-log, and of the FLOPs in closed form over the same "
        "points. 1: the cost doubles with what grows; 0: it stays the same. A wider size may be deeper, too."
    )
    return Table(header, rows, "lllrrrr", caption) if rows else None


def _seconds(row: Record, kind: str) -> float:
    """Returns the seconds per token."""
    seconds: float = row[kind]["seconds"]["median"]
    return seconds / (row["batch"] * row["length"])
