"""The peak memory of a training step, beyond the model, its gradients and the moments of its optimizer.

On CUDA the allocator reports it. On a CPU the kernel does (Linux: VmHWM of /proc/self/status), for a whole process, so
the step runs in a process of its own: `python -m leanformer.bench.memory SPECIFICATION`.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from leanformer.attention import load_plugin
from leanformer.bench.sizes import config
from leanformer.bench.step import Model
from leanformer.training.machine.hardware import prepare_cpu

STATUS, MARKS = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def on_cuda(model: Model) -> int:
    """Returns bytes; the model must have trained before, so that gradients and moments exist."""
    model.train()
    before = torch.cuda.memory_allocated(model.device)
    torch.cuda.reset_peak_memory_stats(model.device)
    model.train()
    return torch.cuda.max_memory_allocated(model.device) - before


def on_cpu(
    settings: dict[str, Any], length: int, batch: int, bf16: bool, threads: int, plugin: Path | None
) -> int | None:
    """Returns the bytes of two training steps, None where the system does not record the peak."""
    if not MARKS.exists():
        return None
    given = {"settings": settings, "length": length, "batch": batch, "bf16": bf16, "threads": threads}
    given["plugin"] = None if plugin is None else str(plugin)
    command = [sys.executable, "-m", "leanformer.bench.memory", json.dumps(given)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise ValueError(f"measuring memory of {settings['attention']} at length {length} failed: {reason}")
    return int(done.stdout)


def _measure(settings: dict[str, Any], length: int, batch: int, bf16: bool, threads: int, plugin: str | None) -> int:
    prepare_cpu(threads)
    load_plugin(plugin)
    model = Model(config(settings), length, batch, torch.device("cpu"), torch.bfloat16 if bf16 else None)
    for parameter in model.model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    model.optimizer.step()  # allocates the moments
    MARKS.write_text("5")  # resets the peak, which a child inherits from its parent
    before = _status("VmRSS")
    model.train()
    model.train()
    return _status("VmHWM") - before


def _status(key: str) -> int:
    return next(int(line.split()[1]) * 1024 for line in STATUS.read_text().splitlines() if line.startswith(key))


if __name__ == "__main__":
    print(_measure(**json.loads(sys.argv[1])))
