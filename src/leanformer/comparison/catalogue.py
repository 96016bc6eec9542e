"""The table behind `leanformer mechanisms`: what each one costs in a model of a given size."""

from typing import Any

from rich.console import Console
from rich.table import Table

from leanformer.attention import MIXERS, mechanism, mixer_options, names
from leanformer.models import LeanformerConfig
from leanformer.models.cost import ledger
from leanformer.models.memory import mixer_bytes


def catalogue(memory: bool = False, **sizes: int) -> list[dict[str, Any]]:
    """A row a mechanism: parameters of the masked-LM model, forward FLOPs a token at full length with 15 % masked; with
    `memory` what a layer of attention keeps of a sequence for the backward pass, bytes, in training with dropout.

    Positions are learned, but for a mechanism that needs rotary ones, whose model so has no table of them.
    """
    rows = []
    for name in names():
        row = mechanism(name)
        positions = "rotary" if row.rotary else "learned"
        config = LeanformerConfig.from_settings({**sizes, "attention": name, "positions": positions})
        what: dict[str, Any] = {"name": name, "paper": row.paper, "positions": positions}
        what |= {"cross_attention": row.cross, "options": row.options()}
        rows.append(what | _costs(config, memory))
    return rows


def mixer_catalogue(memory: bool = False, **sizes: int) -> list[dict[str, Any]]:
    """The like rows of the mixers that are rivals of a mechanism: those without heads, and `shaped` around
    `dot_product`. `group` is what of attention they share, or learn at all. Instead of the maps of query, key and value
    all but the output map is counted."""
    rows = []
    for name, made in MIXERS.items():
        if made.group:
            config = LeanformerConfig.from_settings({**sizes, "mixer": name})
            what = {"name": name, "mixer": name, "group": made.group, "paper": made.paper, "positions": "learned"}
            rows.append(what | {"cross_attention": False, "options": mixer_options(name)} | _costs(config, memory))
    return rows


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


def print_catalogue(rows: list[dict[str, Any]]) -> None:
    base = rows[0]
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("mechanism", no_wrap=True)
    for title in ("q, k, v", "parameters", "", "MFLOP/token", ""):
        table.add_column(title, justify="right", no_wrap=True)
    memory = "kept_bytes" in base
    for title in ("kept, MB/layer", "with dropout") if memory else ():
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("paper", no_wrap=True)
    group = None
    for row in rows:
        if row.get("group") != group:
            group = row["group"]
            table.add_section()
            table.add_row(f"[italic]{group}[/italic]")
        table.add_row(
            row["name"] if group is None else f"  {row['name']}",
            f"{row['qkv_parameters_per_layer']:,}",
            f"{row['parameters']:,}",
            _change(row["parameters"], base["parameters"]),
            f"{row['forward_flops_per_token'] / 1e6:.1f}",
            _change(row["forward_flops_per_token"], base["forward_flops_per_token"]),
            *(f"{row[key] / 1e6:.2f}" for key in ("kept_bytes", "kept_bytes_with_dropout") if memory),
            row["paper"],
        )
    # Numbers are never cut: a terminal narrower than the table wraps its lines.
    console = Console(width=max(130, Console().width))
    console.print(table)
    if rotary := [row["name"] for row in rows if row["positions"] == "rotary"]:
        console.print(f"{', '.join(rotary)}: with rotary positions, so without the others' table of positions")
    if any("mixer" in row for row in rows):
        console.print(
            "Below the mechanisms stand values of model.mixer, by what is left of attention: projection: some of its "
            "maps are left out; positions only: places are mixed, and no token is compared with another; none: nothing "
            "of the mixing is learned. A fast Fourier transform has no matrix products, and so no FLOPs here."
        )


def _change(value: float, base: float) -> str:
    return "" if value == base else f"{100 * (value / base - 1):+.2f} %"
