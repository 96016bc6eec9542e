"""The tables of docs/scale.md: `python -m benchmarks.scale` prints what `training/budget/cluster.py` computes."""

from collections.abc import Iterator
from itertools import product

from leanformer.models import LeanformerConfig
from leanformer.training.budget.cluster import Cluster, Cost, cheapest, cost, shards

MODELS = {"100 M": (12, 768), "1 B": (24, 1792), "7 B": (32, 4096)}
"""Layers and width; heads of 64, feed-forward layers of four times the width, 32,768 word pieces."""
TOKENS = {"10 B": 1e10, "100 B": 1e11, "1 T": 1e12}
GPUS = (1, 8, 64, 512)
LENGTH = 512
BATCH = 1 << 21
"""Tokens per step: 4,096 sequences of 512."""
MECHANISMS = ("dot_product", "pairwise", "symmetric", "shared", "random")


def config(name: str, attention: str = "dot_product") -> LeanformerConfig:
    layers, width = MODELS[name]
    sizes = {"num_hidden_layers": layers, "hidden_size": width, "intermediate_size": 4 * width}
    other = {"num_attention_heads": width // 64, "vocab_size": 32_768, "max_position_embeddings": LENGTH}
    return LeanformerConfig.from_settings({**sizes, **other, "attention": attention})


def job(tokens: float) -> dict[str, float]:
    return {"tokens": tokens, "batch_tokens": BATCH, "length": LENGTH}


def shardings() -> Iterator[list[str]]:
    """Memory and network of both shardings, on the fewest GPUs of a node and on eight nodes."""
    for name, gpus, sharding in product(MODELS, (8, 64), ("ddp", "fsdp")):
        found = cost(config(name), Cluster(gpus=gpus), sharding=sharding, **job(1e11))
        less = cost(config(name), Cluster(gpus=gpus), sharding=sharding, checkpointing=True, **job(1e11))
        fits = "yes" if found.fits else "with checkpointing" if less.fits else "no"
        yield [name, str(gpus), sharding, gigabytes(found.states), gigabytes(found.sent), seconds(found.network),
               seconds(found.compute), fits]  # fmt: skip


def days() -> Iterator[list[str]]:
    """Days by the fastest sharding that fits."""
    for name, (words, tokens) in product(MODELS, TOKENS.items()):
        costs = [cheapest(config(name), Cluster(gpus=gpus), **job(tokens)) for gpus in GPUS]
        yield [name, words, *(_days(found) for found in costs)]


def mechanisms() -> Iterator[list[str]]:
    """What each mechanism leaves of the baseline's time and states at the largest size."""
    base: Cost | None = None
    for attention in MECHANISMS:
        found = cost(config("7 B", attention), Cluster(gpus=64), sharding="fsdp", **job(1e11))
        base = base or found
        parts = found.parameters / base.parameters, found.compute / base.compute, found.sent / base.sent
        yield [f"`{attention}`", f"{found.parameters / 1e9:.2f} B", *(f"{part:.2f}" for part in parts)]


def files() -> Iterator[list[str]]:
    for words, tokens in TOKENS.items():
        number, size = shards(tokens)
        yield [words, f"{number:,}", gigabytes(size)]


def gigabytes(size: float) -> str:
    return f"{size / 1e9:,.3g} GB" if size < 1e12 else f"{size / 1e12:,.3g} TB"


def seconds(value: float) -> str:
    return f"{value:.2g} s"


def _days(found: Cost | None) -> str:
    if found is None:
        return "does not fit"
    how = found.sharding + (", checkpointing" if found.checkpointing else "")
    return f"{found.days:,.3g} ({how})"


HEADERS = {
    shardings: ["Model", "GPUs", "Sharding", "States per GPU", "Sent per step", "Network", "Compute", "Fits 80 GB"],
    days: ["Model", "Tokens", *(f"{gpus} GPU{'s' * (gpus > 1)}" for gpus in GPUS)],
    mechanisms: ["Attention", "Parameters", "of the baseline's", "Compute", "Sent"],
    files: ["Tokens", "Files", "Size"],
}


def table(rows: object) -> str:
    """Returns one of the tables in Markdown."""
    header = HEADERS[rows]  # type: ignore[index]
    lines = [header, ["---"] * len(header), *rows()]  # type: ignore[operator]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    print("\n".join(table(rows) for rows in HEADERS))
