"""The page of the study: a verdict, one table of quality, one of speed, one picture."""

from typing import Any

from experiments.real_models.picture import picture
from experiments.real_models.quality import FULL
from leanformer.models.inference import PRECISIONS
from leanformer.reporting.numbers.quantities import NONE, fixed, listed
from leanformer.reporting.render.document import Block, Document, Paragraph, Section, Table


def document(found: dict[str, Any]) -> Document:
    original, main = found["original"], found["main"]
    hardware = found["hardware"]
    facts = [
        ("Original", f"{original['name']}, {millions(original['parameters'])} parameters"),
        ("Quality", f"Spearman correlation on {found['pairs'][main]:,} pairs ({main})"),
        ("Machine", f"{hardware.get('cpu') or hardware.get('device')}, one thread"),
    ]
    blocks: list[Block] = [_quality(found)]
    if len(found["targets"]) > 1:
        blocks.append(picture(found))
    sections = [
        Section("Quality", blocks),
        Section("Precision", [_precision(found)]),
        Section("Other pairs", [_others(found)]),
    ]
    if "speed" in found:
        sections.append(Section("Speed and size", [_speed(found), Paragraph(SPEED)]))
    return Document(f"{original['name']} with another attention", headline(found), facts, sections, {})


SPEED = (
    "Speed: the time of the original in sentence-transformers over a candidate's own, in the same round, median over "
    "the rounds with the smallest and the largest value. All encode the same sentences, from text to vectors, with one "
    "thread, in batches of 32 sorted by length; time is that of the process."
)


def headline(found: dict[str, Any]) -> str:
    """Says which targets reached their aims, after conversion and after recovery."""
    said = [f"The original reaches {fixed(_score(found, found['original']), 4)}."]
    for place, (when, words) in enumerate({"start": "after conversion", "end": "after recovery"}.items()):
        aimed = {name: row for name, row in found["targets"].items() if when in row and row["aims"][place] is not None}
        reached = [name for name, row in aimed.items() if score(found, row, when) >= row["aims"][place]]
        missed = [name for name in aimed if name not in reached]
        if reached:
            said.append(f"Aims {words} are reached by {listed(reached)}.")
        if missed:
            said.append(f"Aims {words} are missed by {listed(missed)}.")
    return " ".join(said)


def score(found: dict[str, Any], row: dict[str, Any], when: str) -> float:
    return _score(found, row[when])


def _score(found: dict[str, Any], measured: dict[str, Any], precision: str = FULL) -> float:
    return float(measured["quality"][precision][found["main"]]["spearman"])


def _quality(found: dict[str, Any]) -> Table:
    original = found["original"]
    rows = [["original", millions(original["parameters"]), "", "", "", fixed(_score(found, original), 4), "", ""]]
    for name, row in found["targets"].items():
        saved = 1 - row["start"]["attention_qkv"] / original["attention_qkv"]
        end = score(found, row, "end") if "end" in row else None
        minutes = row["recovery"]["seconds"] / 60 if "recovery" in row else None
        rows.append([
            name, millions(row["start"]["parameters"]), f"{100 * saved:.0f} %", fixed(score(found, row, "start"), 4),
            _aim(row["aims"][0]), NONE if end is None else fixed(end, 4), _aim(row["aims"][1]),
            NONE if minutes is None else f"{minutes:.0f} min",
        ])  # fmt: skip
    caption = (
        "Spearman correlation of cosines and scores. Saved: of the weights of queries, keys and values of all layers. "
        "After conversion: the closed-form start on texts. After recovery: distillation of the original's vectors."
    )
    header = ["Model", "Parameters", "Saved", "After conversion", "Aim", "After recovery", "Aim", "Recovery"]
    return Table(header, rows, "lrrrrrrr", caption)


def _precision(found: dict[str, Any]) -> Table:
    named = {"original": found["original"]}
    for name, row in found["targets"].items():
        named |= {f"{name}, converted": row["start"]} | ({f"{name}, recovered": row["end"]} if "end" in row else {})
    rows = [
        [name, fixed(_score(found, measured), 4), *(_lost(found, measured, each) for each in PRECISIONS)]
        for name, measured in named.items()
    ]
    caption = "The same correlation in float32, and what reduced precisions change."
    return Table(["Model", FULL, *PRECISIONS], rows, "lrrr", caption)


def _lost(found: dict[str, Any], measured: dict[str, Any], precision: str) -> str:
    if precision not in measured["quality"]:
        return NONE
    return f"{_score(found, measured, precision) - _score(found, measured):+.4f}"


def _others(found: dict[str, Any]) -> Table:
    """Retrieval on every file of pairs, with the recovered models."""
    names = list(found["pairs"])
    rows = []
    for name, measured in {
        "original": found["original"],
        **{n: r["end"] for n, r in found["targets"].items() if "end" in r},
    }.items():
        each = measured["quality"][FULL]
        rows.append(
            [
                name,
                *(
                    cell
                    for file in names
                    for cell in (fixed(each[file]["mrr@10"], 3), fixed(each[file]["recall@1"], 3))
                ),
            ]
        )
    header = ["Model", *(f"{file}, {what}" for file in names for what in ("MRR@10", "recall@1"))]
    return Table(header, rows, "l" + "r" * 2 * len(names), "Retrieval of the counterpart among all second texts.")


def _speed(found: dict[str, Any]) -> Table:
    sizes = found["bytes"]
    rows = []
    for row in found["speed"]:
        form, speed = row["form"], row["speed"]
        key = {"leanformer": "fp32", "onnx": "model.onnx", "onnx int8": "model_int8.onnx"}.get(form)
        size = sizes.get(row["model"], {}).get(key)
        between = f"{speed['median']:.2f} ({speed['low']:.2f} to {speed['high']:.2f})"
        rows.append(
            [row["model"], form, NONE if size is None else f"{size / 1e6:.1f} MB", between, f"{row['per_second']:.0f}"]
        )
    return Table(["Model", "Form", "File", "Speed", "Sentences per second"], rows, "llrrr")


def _aim(value: float | None) -> str:
    return NONE if value is None else f"{value:.3f}"


def millions(number: float) -> str:
    return f"{number / 1e6:.1f} M"
