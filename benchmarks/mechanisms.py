"""Step rate, inference rate and memory of mechanisms next to `dot_product`, on this machine's CPU or GPU, in one run.

    python benchmarks/mechanisms.py [--attention random,...] [--lengths 128,512] [--size small|base] [--dropout 0.1]
                                    [--tokens 4096] [--rounds 7] [--precision fp32|bf16] [--out results.json]

A training step is forward, backward and AdamW of the masked-LM encoder (15 % of the positions predicted, vocabulary
8192); inference is the bare encoder in evaluation, once over a full batch and once with a third of every second row
padded. Contestants take turns within a round, and each is divided by `dot_product`'s time of the same round: printed
are the median of the ratios and their range. The ceiling is the ratio of the matrix products' FLOPs. Peak memory is of
a process (or GPU) of its own, above what the model and its optimizer take.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from leanformer.attention import MultiHeadAttention
from leanformer.models import LeanformerConfig, LeanformerForMaskedLM
from leanformer.models.cost import ledger
from leanformer.training.hardware import describe, prepare_cpu

SIZES = {
    "small": {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 1024},
    "base": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072},
}
VOCABULARY = 8192
DEFAULT = "dot_product,random,fixed_random,factorized_random,dense,factorized_dense,random+dot_product"


def config(name: str, length: int, size: str, dropout: float) -> LeanformerConfig:
    rates = {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
    sizes = {"vocab_size": VOCABULARY, "max_position_embeddings": length, **SIZES[size], **rates}
    return LeanformerConfig(attention=name, **sizes)


class Contestant:
    """A model with its batch; `train` and the two `infer` run once."""

    def __init__(self, name: str, length: int, options: argparse.Namespace, device: torch.device) -> None:
        torch.manual_seed(1)
        self.device, self.bf16 = device, options.precision == "bf16"
        self.model = LeanformerForMaskedLM(config(name, length, options.size, options.dropout)).to(device)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4, fused=True)
        batch, masked = max(1, options.tokens // length), round(0.15 * length)
        generator = torch.Generator().manual_seed(1)
        self.ids = torch.randint(5, VOCABULARY, (batch, length), generator=generator).to(device)
        self.positions = torch.rand(batch, length, generator=generator).argsort(-1)[:, :masked].sort(-1)[0].to(device)
        self.labels = torch.randint(5, VOCABULARY, (batch, masked), generator=generator).to(device)
        self.padding = torch.ones_like(self.ids)
        self.padding[::2, -length // 3 :] = 0

    def train(self) -> None:
        self.model.train()
        self.optimizer.zero_grad()
        with self.autocast():
            loss = self.model(self.ids, masked_positions=self.positions, labels=self.labels).loss
        loss.backward()
        self.optimizer.step()

    def infer(self, padded: bool) -> None:
        self.model.eval()
        with torch.inference_mode(), self.autocast():
            self.model.encoder(self.ids, self.padding if padded else None)

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16)

    def path(self) -> str | None:
        layer = next(module for module in self.model.modules() if isinstance(module, MultiHeadAttention))
        return layer.path


def seconds(step: Callable[[], None], repeats: int, device: torch.device) -> float:
    synchronise = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    synchronise()
    start = time.perf_counter()
    for _ in range(repeats):
        step()
    synchronise()
    return (time.perf_counter() - start) / repeats


def measure(names: list[str], length: int, options: argparse.Namespace, device: torch.device) -> list[dict[str, Any]]:
    contestants = {name: Contestant(name, length, options, device) for name in names}
    kinds: dict[str, Callable[[Contestant], Callable[[], None]]] = {
        "train": lambda c: c.train,
        "inference": lambda c: lambda: c.infer(False),
        "inference_padded": lambda c: lambda: c.infer(True),
    }
    rows: dict[str, dict[str, Any]] = {
        name: {"attention": name, "length": length, "batch": len(one.ids)} for name, one in contestants.items()
    }
    for kind, step in kinds.items():
        for one in contestants.values():
            seconds(step(one), 2, device)
        times: dict[str, list[float]] = {name: [] for name in names}
        for _ in range(options.rounds):
            for name, one in contestants.items():
                times[name].append(seconds(step(one), options.repeats, device))
        for name, one in contestants.items():
            ratios = [base / own for base, own in zip(times["dot_product"], times[name], strict=True)]
            rows[name][kind] = {
                "seconds": statistics.median(times[name]),
                "ratio": statistics.median(ratios),
                "ratio_range": [min(ratios), max(ratios)],
                "path": one.path(),
            }
    base = _flops("dot_product", length, options)
    for name, row in rows.items():
        own = _flops(name, length, options)
        row["ceiling"] = {kind: base[kind] / own[kind] for kind in own}
        row["peak_bytes"] = peak_bytes(name, length, options, device)
    return list(rows.values())


def _flops(name: str, length: int, options: argparse.Namespace) -> dict[str, float]:
    sizes = config(name, length, options.size, options.dropout)
    counts = ledger(sizes, length, round(0.15 * length))["flops_per_token"]
    return {"train": counts["training"], "inference": counts["attention"] + counts["feed_forward"]}


def peak_bytes(name: str, length: int, options: argparse.Namespace, device: torch.device) -> int:
    """Of two training steps, above what was there before the first."""
    if device.type == "cuda":
        one = Contestant(name, length, options, device)
        one.train()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        one.train()
        return torch.cuda.max_memory_allocated() - before
    command = [sys.executable, __file__, "--memory-of", name, "--lengths", str(length), "--size", options.size]
    command += ["--dropout", str(options.dropout), "--tokens", str(options.tokens), "--precision", options.precision]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def own_peak_bytes(name: str, length: int, options: argparse.Namespace) -> int:
    one = Contestant(name, length, options, torch.device("cpu"))
    for parameter in one.model.parameters():  # gradients and moments are the model's, not the step's
        parameter.grad = torch.zeros_like(parameter)
    one.optimizer.step()
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew; a child inherits its parent's
    before = _status("VmRSS")
    one.train()
    one.train()
    return _status("VmHWM") - before


def _status(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--attention", default=DEFAULT)
    parser.add_argument("--lengths", default="128,512")
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--tokens", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    options = parser.parse_args()
    prepare_cpu(None)
    lengths = [int(length) for length in options.lengths.split(",")]
    if options.memory_of:
        print(own_peak_bytes(options.memory_of, lengths[0], options))
        return
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    names = list(dict.fromkeys(["dot_product", *options.attention.split(",")]))
    rows = [row for length in lengths for row in measure(names, length, options, device)]
    for row in rows:
        print(f"{row['length']:5} {row['attention']:20}", end="")
        for kind in ("train", "inference", "inference_padded"):
            low, high = row[kind]["ratio_range"]
            ceiling = row["ceiling"][kind.removesuffix("_padded")]
            print(f"  {kind} {row[kind]['ratio']:.2f} ({low:.2f}-{high:.2f}, ceiling {ceiling:.2f})", end="")
        print(f"  {row['peak_bytes'] / 2**20:6.0f} MiB  {row['train']['path']}")
    if options.out:
        dtype = torch.bfloat16 if options.precision == "bf16" else None
        settings = {key: value for key, value in vars(options).items() if key not in ("out", "memory_of")}
        record = {"schema": 1, "settings": settings, "hardware": describe(device, 1, dtype), "rows": rows}
        options.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
