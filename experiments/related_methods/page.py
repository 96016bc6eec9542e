"""The page of the protocol, of the records alone: a verdict and tables a system, published figures beside ours."""

import tomllib
from pathlib import Path
from typing import Any

from benchmarks.cells import NONE
from experiments.protocol import read_record
from experiments.related_methods.linking import linking
from experiments.related_methods.pretrained import clusters, convbert
from experiments.related_methods.statistics import System
from experiments.related_methods.tuned import absgd, pst, regsl
from experiments.rows import Row, made_on, model_size
from leanformer.files import write_text
from leanformer.reporting.render.document import Block, Document, Paragraph, Points, Section, Table
from leanformer.reporting.render.markdown import markdown

SYSTEMS = {"convbert": convbert, "clusters": clusters, "pst": pst, "regsl": regsl, "absgd": absgd, "linking": linking}
TEXTS = Path(__file__).with_name("published.toml")


def write_page(records: Path, page: Path) -> None:
    """FileNotFoundError if there are none, ValueError for what is no record."""
    files = [file for name in SYSTEMS if (file := records / f"{name}.json").is_file()]
    found = [read_record(file, "related_methods", "neighbours") for file in files]
    if not found:
        raise FileNotFoundError(f"{records} holds no record: run the protocol first")
    write_text(page, markdown(document(found)))


def document(records: list[Row]) -> Document:
    texts = tomllib.loads(TEXTS.read_text(encoding="utf-8"))
    told = [(record, SYSTEMS[record["study"]](record)) for record in records]
    facts = [
        ("model", " / ".join(dict.fromkeys(map(_model, records)))),
        ("seeds", " / ".join(dict.fromkeys(str(record["seeds"]) for record in records))),
        *made_on(records[0]),
    ]
    summary = Table(["system", "verdict"], [[system.title, system.verdict] for _, system in told], "lw")
    sections = [Section("Verdicts", [summary, Points(texts["rule"])])]
    sections += [Section(system.title, _blocks(record, system, texts[record["study"]])) for record, system in told]
    done = f"{len(told)} of {len(SYSTEMS)} systems measured"
    return Document("Related methods", done, facts, sections, {})


def _model(record: Row) -> str:
    return f"{model_size(record)}, vocabulary of {record['data']['vocab_size']:,}"


def _blocks(record: Row, system: System, texts: dict[str, Any]) -> list[Block]:
    rows = [
        [claim["what"], claim["figure"], claim["source"], system.here.get(claim["here"], NONE)]
        for claim in texts["claims"]
    ]
    beside = Table(["", "published", "read in", "here"], rows, "wwww", texts["paper"])
    tables = [block for block in system.blocks if not isinstance(block, Table) or block.rows]
    return [Paragraph(f"Verdict: {system.verdict}."), beside, *tables, Points(_conditions(record, texts["notes"]))]


def _conditions(record: Row, notes: list[str]) -> list[str]:
    sizes, minutes = record["sizes"], sum(piece["minutes"] for piece in record["pieces"])
    lines = [
        f"Model: {_model(record)}.",
        *(note.format(**sizes) for note in notes),
        f"Wall clock of its pieces: {minutes:.0f} minutes, {record['jobs']} at a time; of a resumed one, since its "
        "last start.",
    ]
    if sizes["scale"] != 1:
        lines.insert(0, f"A trial at {sizes['scale']:g} of the budget: its numbers say nothing.")
    for name, trials in record["tried"].items():
        for tried in trials:
            candidates = tried["candidates"]
            metric = next(iter(key for key in candidates[0] if key != "settings"))
            reached = "; ".join(f"{', '.join(each['settings'])}: {_points(each[metric])}" for each in candidates)
            lines.append(f"Tried for {name} on {tried['task']}, one seed, {metric}: {reached}.")
    for encoder in record["encoders"]:
        if encoder["final_loss"] is not None:
            lines.append(
                f"Encoder {encoder['attention']}: {encoder['parameters']:,} parameters, {encoder['tokens']:,} tokens, "
                f"held-out loss {encoder['final_loss']:.3f}."
            )
    if record["missing"]:
        lines.append(f"Failed or missing: {', '.join(record['missing'])}.")
    return lines


def _points(value: float | None) -> str:
    return NONE if value is None else f"{100 * value:.1f}"
