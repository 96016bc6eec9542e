"""The table behind `leanformer mechanisms`: what each one costs in a model of a given size."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from leanformer.attention import MIXERS, Mechanism, mechanism, mixer_options, names
from leanformer.models import LeanformerConfig
from leanformer.models.cost import ledger
from leanformer.models.memory import mixer_bytes
from leanformer.spelling import suggest

SHARED = {
    "none": "nothing is shared",
    "projection": "projections are shared",
    "heads": "heads share keys and values",
    "layers": "layers share",
    "positions": "scores or mixing depend on positions only",
    "nothing": "nothing of the mixing is learned",
}
"""What the rows of a group share, in the order of the table."""
LAYERS = {
    "kv:2": "Brandon et al. 2024",
    "kv:half": "Sun et al. 2024",
    "atoms:{third}": "MASA 2025",
    "attention": "Lan et al. 2020",
    "feed_forward": "Lan et al. 2020",
    "all": "Lan et al. 2020",
}
"""Values of `model.layer_sharing` that have a row, with a third of the layers as atoms."""
SORTS = ("shared", "saving")


def catalogue(memory: bool = False, **sizes: int) -> list[dict[str, Any]]:
    """A row a mechanism, and a row a plan of layers that share with `dot_product`: parameters of the masked-LM model,
    forward FLOPs a token at full length with 15 % masked; with `memory` what a layer of attention keeps of a sequence
    for the backward pass, bytes, in training with dropout. `shares` is a key of `SHARED`.

    Positions are learned, but for a mechanism that needs rotary ones, whose model so has no table of them.
    """
    rows = [_row(name, name, mechanism(name).paper, memory, sizes, {}) for name in names()]
    depth = LeanformerConfig.from_settings(sizes).num_hidden_layers
    for plan, paper in LAYERS.items() if depth > 1 else ():
        value = plan.format(third=max(1, depth // 3))
        label = f"dot_product[model.layer_sharing={value}]"
        rows.append(_row(label, "dot_product", paper, memory, sizes, {"layer_sharing": value}))
    return rows


def mixer_catalogue(memory: bool = False, **sizes: int) -> list[dict[str, Any]]:
    """The like rows of the mixers that are rivals of a mechanism: those without heads, and `shaped` around
    `dot_product`. Instead of the maps of query, key and value all but the output map is counted."""
    rows = []
    for name, made in MIXERS.items():
        if made.group:
            config = LeanformerConfig.from_settings({**sizes, "mixer": name})
            what: dict[str, Any] = {"name": f"dot_product[model.mixer={name}]", "mixer": name, "shares": made.group}
            what |= {"paper": made.paper, "positions": "learned", "cross_attention": False}
            rows.append(what | {"options": mixer_options(name)} | _costs(config, memory))
    return rows


def ordered(rows: list[dict[str, Any]], sort: str) -> list[dict[str, Any]]:
    """Returns the rows in the groups of `SHARED`, or by "saving" with the fewest parameters first."""
    if sort not in SORTS:
        raise ValueError(f"--sort {sort!r}: {suggest(sort, SORTS)}")
    if sort == "saving":
        return sorted(rows, key=lambda row: row["parameters"])
    return sorted(rows, key=lambda row: list(SHARED).index(row["shares"]))


def _row(
    label: str, name: str, paper: str, memory: bool, sizes: Mapping[str, int], settings: Mapping[str, Any]
) -> dict[str, Any]:
    row = mechanism(name)
    positions = "rotary" if row.rotary else "learned"
    config = LeanformerConfig.from_settings({**sizes, "attention": name, "positions": positions, **settings})
    return {
        "name": label,
        "shares": "layers" if settings else _shares(row, config),
        "paper": paper,
        "positions": positions,
        "cross_attention": row.cross,
        "options": row.options(),
        **_costs(config, memory),
        "qkv_parameters_per_layer": row.num_params(config.shape()),
    }


def _costs(config: LeanformerConfig, memory: bool) -> dict[str, Any]:
    length, dropout = config.max_position_embeddings, float(config.attention_probs_dropout_prob)
    costs = ledger(config, length)
    found = {
        "qkv_parameters_per_layer": costs["parameters"]["attention_qkv"] // config.num_hidden_layers,
        "parameters": costs["parameters"]["total"],
        "forward_flops_per_token": costs["flops_per_token"]["forward"],
    }
    if memory:
        own = (config.mixer, config.mixer_options, config.attention, config.attention_options)
        for key, p in (("kept_bytes", 0.0), ("kept_bytes_with_dropout", dropout)):
            found[key] = mixer_bytes(*own, config.shape(), length, p)
    return found


def _shares(row: Mechanism, config: LeanformerConfig) -> str:
    """What a mechanism shares, a key of `SHARED`."""
    if not row.compatibility.uses_input:
        return "positions"
    if row.kv_heads(config.shape()) < config.num_attention_heads:
        return "heads"
    return "projection" if row.projection_class({}).shares() else "none"


def print_catalogue(rows: list[dict[str, Any]]) -> None:
    """Prints the rows as a table, with a line above each group unless they are sorted otherwise."""
    base = next(row for row in rows if row["name"] == "dot_product")
    grouped = [row["shares"] for row in rows] == sorted((row["shares"] for row in rows), key=list(SHARED).index)
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("mechanism", no_wrap=True)
    for title in ("q, k, v", "parameters", "", "MFLOP/token", ""):
        table.add_column(title, justify="right", no_wrap=True)
    memory = "kept_bytes" in base
    for title in ("kept, MB/layer", "with dropout") if memory else ():
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("paper", no_wrap=True)
    above = None
    for row in rows:
        if grouped and row["shares"] != above:
            above = row["shares"]
            table.add_row(f"[dim]{SHARED[above]}[/dim]")
        table.add_row(
            escape(row["name"]),
            f"{row['qkv_parameters_per_layer']:,}",
            f"{row['parameters']:,}",
            _change(row["parameters"], base["parameters"]),
            f"{row['forward_flops_per_token'] / 1e6:.1f}",
            _change(row["forward_flops_per_token"], base["forward_flops_per_token"]),
            *(f"{row[key] / 1e6:.2f}" for key in ("kept_bytes", "kept_bytes_with_dropout") if memory),
            row["paper"],
        )
    # Numbers are never cut: a terminal narrower than the table wraps its lines.
    console = Console(width=max(200, Console().width))
    console.print(table)
    if rotary := [row["name"] for row in rows if row["positions"] == "rotary"]:
        console.print(f"{', '.join(rotary)}: with rotary positions, so without the others' table of positions")
    if any(row.get("mixer") == "fourier" for row in rows):
        console.print("A fast Fourier transform has no matrix products, and so no FLOPs here.")


def _change(value: float, base: float) -> str:
    return "" if value == base else f"{100 * (value / base - 1):+.2f} %"
