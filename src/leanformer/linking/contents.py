"""The report: one table of accuracy, size and speed, and how it was asked."""

from typing import Any

from leanformer.linking.results import points
from leanformer.reporting.numbers.quantities import listed, memory, scaled
from leanformer.reporting.numbers.statistics import Spread
from leanformer.reporting.render.document import Code, Document, Points, Section, Table

COMPOSITES = {
    "any": "A mention is right if each of its parts finds any of its concepts",
    "each": "A mention is right if each of its parts finds one of its concepts, and each concept is found",
    "skip": "Mentions of several parts or several concepts are left out",
}
MISSING = {
    "refuse": "every concept that is asked for is in the dictionary",
    "wrong": "a concept that is not in the dictionary counts as not found",
    "skip": "mentions without a concept in the dictionary are left out",
}


def contents(found: dict[str, Any]) -> Document:
    data, hardware = found["data"], found["hardware"]
    sections = [
        Section("Accuracy, size and speed", [accuracy(found), cost(found)]),
        Section("How it was asked", [Points(protocol(found))]),
    ]
    if found["command"]:
        sections.append(Section("To repeat it", [Code(found["command"])]))
    facts = [
        ("Mentions", f"{data['mentions']:,} ({data['split']})"),
        ("Names", f"{data['names']:,}"),
        ("Concepts", f"{data['concepts']:,}"),
        ("Machine", f"{hardware['gpu'] or hardware['cpu']}, {hardware['threads']} threads"),
    ]
    names = [row["encoder"] for row in found["encoders"]]
    return Document(f"Entity linking: {listed(names)}", found["headline"], facts, sections, {})


def accuracy(found: dict[str, Any]) -> Table:
    keys = ("accuracy@1", "accuracy@5", "unlisted_accuracy@1", "unlisted_accuracy@5")
    rows = [
        [row["encoder"], str(len(row["seeds"])), *(points(Spread(**row[key])) for key in keys)]
        for row in found["encoders"]
    ]
    data = found["data"]
    caption = (
        f"Points, mean ± sd over seeds. Unlisted: the {data['unlisted']:,} of {data['mentions']:,} mentions of which "
        "no part is word for word a name in the dictionary."
    )
    header = ["Encoder", "Seeds", "Accuracy@1", "Accuracy@5", "Unlisted @1", "Unlisted @5"]
    return Table(header, rows, "lrrrrr", caption)


def cost(found: dict[str, Any]) -> Table:
    rows = [
        [
            row["encoder"],
            f"{row['parameters']:,}",
            f"{row['without_embeddings']:,}",
            memory(row["index_bytes"]),
            scaled(row["names_per_second"]["mean"]),
            scaled(row["searches_per_second"]["mean"]),
            f"{row['steps']:,}",
            f"{row['training_seconds']['mean']:,.0f}",
        ]
        for row in found["encoders"]
    ]
    caption = (
        "Index: the vectors of all names. Names a second are encoded in one process on this machine, searches a second "
        "compare one vector with all of them. Training time includes pauses to save."
    )
    header = ["Encoder", "Parameters", "Without embeddings", "Index", "Names/s", "Searches/s", "Steps", "Training, s"]
    return Table(header, rows, "lrrrrrrr", caption)


def protocol(found: dict[str, Any]) -> list[str]:
    data, settings = found["data"], found["encoders"][0]["settings"]
    lines = [
        f"Trained on {listed(data['train'])} ({data['learned']:,} mentions), scored on {data['split']}.",
        f"{COMPOSITES[settings['composites']]}; {MISSING[settings['missing']]}.",
        "The mentions of training are names in the dictionary, too."
        if data["joined"]
        else "The dictionary's own names alone are searched.",
        "k nearest names: several of them may be of one concept.",
    ]
    return lines + [f"{note}." for note in data["notes"]]
