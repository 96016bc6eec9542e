"""The hardware: its settings for training, whether it multiplies bf16 natively, and its description in the record."""

import ctypes
import os
import platform
import sys
from pathlib import Path
from typing import Any

import torch

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
"""From glibc's malloc.h."""


def prepare_cpu(threads: int | None) -> None:
    """Treat denormal numbers as zero (a CPU computes with them many times slower), keep freed memory, set the threads.

    Call it before the first parallel computation: torch's worker threads inherit the mode when they start. Raises
    ValueError for less than one thread.
    """
    torch.set_flush_denormal(True)
    keep_freed_memory()
    if threads is not None:
        if threads < 1:
            raise ValueError(f"threads = {threads}: must be positive")
        torch.set_num_threads(threads)


def threads_asked() -> int | None:
    """Returns the threads per process that OMP_NUM_THREADS asks for, None if it does not."""
    first = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return int(first) if first.isdecimal() and int(first) > 0 else None


def visible_devices() -> list[str]:
    """Returns the GPUs that this process sees, by the names that CUDA_VISIBLE_DEVICES takes; none on a CPU."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    named = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return (named or [str(number) for number in range(count)])[:count]


def keep_freed_memory() -> None:
    """Make glibc reuse the memory of a step for the next step; does nothing without glibc.

    By default glibc returns large blocks to the kernel, which clears them page by page when they are allocated again.
    This takes a tenth of a small model's time.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def autocast_dtype(precision: str, device: torch.device) -> torch.dtype | None:
    """Returns the type of matrix products: bfloat16, or None for the weights' float32.

    `auto` chooses bf16 where the hardware multiplies it natively: CUDA from compute capability 8.0, x86 with AMX or
    AVX512-BF16. Weights, optimizer, norms, softmax and the loss are float32 in either case.
    """
    if precision == "fp32":
        return None
    if precision == "bf16":
        return torch.bfloat16
    return torch.bfloat16 if _multiplies_bf16(device) else None


def _multiplies_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        return any(getattr(torch.cpu, f"_is_{name}_supported")() for name in ("amx_tile", "avx512_bf16"))
    return False


def describe(device: torch.device, processes: int, dtype: torch.dtype | None) -> dict[str, Any]:
    return {
        "device": device.type,
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "processes": processes,
        "precision": "fp32" if dtype is None else "bf16",
    }


def _cpu_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
