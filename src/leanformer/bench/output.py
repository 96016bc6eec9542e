"""The output of a record: to the terminal, and to a directory as results.json, report.md and figures/."""

import json
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table as Grid

from leanformer.bench.pictures import pictures
from leanformer.bench.tables import on_gpu, tables
from leanformer.reporting.numbers.quantities import scaled
from leanformer.reporting.render.document import Block, Document, Points, Section
from leanformer.reporting.render.markdown import markdown
from leanformer.training.machine.hardware import describe
from leanformer.training.run.record import versions

SCHEMA = 1
TITLES = {
    "mechanisms": "Mechanisms side by side",
    "inference": "Precisions of inference",
    "peers": "Pre-training beside other projects",
}


def record(
    kind: str,
    found: dict[str, Any],
    settings: dict[str, Any],
    device: torch.device,
    dtype: torch.dtype | None,
    packages: dict[str, str] | None = None,
) -> dict[str, Any]:
    """Returns the content of results.json: the results `found`, with the settings, the machine and the packages."""
    where = {"versions": versions() | (packages or {}), "hardware": describe(device, 1, dtype)}
    return {"schema": SCHEMA, "kind": kind, "settings": settings, **where, **found}


def write(record: dict[str, Any], out: Path) -> None:
    drawn = pictures(record)
    (out / "figures").mkdir()
    files = {f"figures/{picture.name}.svg": picture.wide for picture in drawn}
    files |= {"report.md": markdown(document(record, drawn))}
    files |= {"results.json": json.dumps(record, indent=1, allow_nan=False) + "\n"}
    for name, text in files.items():
        (out / name).write_text(text, encoding="utf-8")


def document(record: dict[str, Any], drawn: list[Any]) -> Document:
    hardware, package = record["hardware"], record["versions"]
    blocks: list[Block] = [*tables(record), *drawn]
    blocks += [Points(record["notes"])] if record["notes"] else []
    facts = [
        ("machine", f"{hardware['gpu'] or hardware['cpu']}, {hardware['threads']} threads"),
        ("torch", package["torch"]),
        ("leanformer", f"{package['leanformer']} ({(package['commit'] or 'no commit')[:12]})"),
    ]
    facts += [(key.replace("_", " "), _words(value)) for key, value in record["settings"].items()]
    if on_gpu(record) and "machine" in record:
        facts += _machine(record)
    headline = "Ratios within a round are the result: all candidates took turns on one machine, in one run."
    return Document(TITLES[record["kind"]], headline, facts, [Section("Results", blocks)], {})


def print_tables(record: dict[str, Any]) -> None:
    """Print the tables; numbers are never cut, and a terminal that is narrower than a table wraps its lines."""
    for table in tables(record):
        grid = Grid(box=None, header_style="bold", pad_edge=False, caption_justify="left")
        for title, letter in zip(table.header, table.align, strict=True):
            grid.add_column(title, justify="right" if letter == "r" else "left", no_wrap=True)
        for row in table.rows:
            grid.add_row(*row)
        Console(width=max(200, Console().width), markup=False, highlight=False).print(grid)
        Console(markup=False, highlight=False).print(f"{table.caption}\n" if table.caption else "")
    for note in record["notes"]:
        print(f"note: {note}")


def _machine(record: dict[str, Any]) -> list[tuple[str, str]]:
    found = record["machine"]
    by_precision = {record["hardware"]["precision"]: found} if "square" in found else found
    return [
        (f"square product {precision}", f"{scaled(rows['square'])}FLOP/s, copy {scaled(rows['copy'])}B/s")
        for precision, rows in by_precision.items()
    ]


def _words(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
