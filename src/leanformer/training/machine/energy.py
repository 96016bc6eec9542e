"""Joules that the machine uses while a run trains, where the platform tells.

    joules = sum over counters, over readings t, of unit (count(t) - count(t - 1)) mod full

    RAPL   Linux: a counter of microjoules a processor package, its cores, caches and memory controllers
           (https://docs.kernel.org/power/powercap/powercap.html); many systems let only root read it
    NVML   NVIDIA: a counter of millijoules a GPU, board and memory, since Volta; needs the package nvidia-ml-py

Both count whatever the package or the board does, other processes included: of two runs at a time each counts both.
Neither counts main memory, disks, fans and losses of the power supply.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from leanformer.install import how_to_install

POWERCAP = Path("/sys/class/powercap")
EVERY = 10.0
"""Seconds between two readings: a RAPL counter is full after 65 kJ or more, minutes, and may be so once in between."""


@dataclass(frozen=True)
class Counter:
    name: str
    read: Callable[[], int]
    """OSError where it cannot be read."""
    unit: float
    """Joules of a count."""
    full: int
    """The count that is zero again."""


class Meter:
    """Of one process; `before` and `source` are those of the run's earlier part, 0.0 and "" if there is none.

    Where anything is silent, or was before, or other counters counted before, the joules of a run are unknown: no part
    stands for the whole. `source` names the counters, or says why there are none.
    """

    def __init__(self, device: torch.device, *, packages: bool, before: float | None = 0.0, source: str = "") -> None:
        self._joules, self._due = before, 0.0
        self._counters: list[Counter] = []
        try:
            self._counters = counters(device, packages=packages)
            self._last = [counter.read() for counter in self._counters]
            now = " + ".join(counter.name for counter in self._counters)
        except OSError as error:
            now, self._joules = str(error), None
        if before is None:
            self._joules, self.source = None, source
        elif packages and source not in ("", now):
            self._joules, self.source = None, f"{source}; after a resume: {now}"
        else:
            self.source = now

    def tick(self) -> None:
        """After every step; reads the counters when it is time to, before they are full."""
        if time.monotonic() >= self._due:
            self.read()

    def read(self) -> float | None:
        """Joules so far, None if unknown."""
        self._due = time.monotonic() + EVERY
        if self._joules is None:
            return None
        try:
            counts = [counter.read() for counter in self._counters]
        except OSError as error:
            self._joules, self.source = None, str(error)
            return None
        for counter, last, count in zip(self._counters, self._last, counts, strict=True):
            self._joules += counter.unit * ((count - last) % counter.full)
        self._last = counts
        return self._joules


def counters(device: torch.device, *, packages: bool) -> list[Counter]:
    """What a run on `device` uses: its GPU and, if `packages`, the processors, which one process of a machine counts.

    OSError says why the device itself is silent; beside a GPU silent processors are left out.
    """
    if device.type != "cuda":
        return processors() if packages else []
    gpu = nvidia(device)
    try:
        return [*(processors() if packages else []), gpu]
    except OSError:
        return [gpu]


def processors() -> list[Counter]:
    """Every package; OSError unless all of them can be read."""
    found = []
    for folder in sorted(POWERCAP.glob("intel-rapl:*")):  # AMD's too; psys and the parts of a package lie here as well
        try:
            name = (folder / "name").read_text().strip()
            if not name.startswith("package"):
                continue
            full = int((folder / "max_energy_range_uj").read_text())
        except (OSError, ValueError) as error:
            raise OSError(f"RAPL: {folder} cannot be read ({_said(error)})") from None
        if full <= 0:
            raise OSError(f"RAPL: {folder}/max_energy_range_uj is {full}")
        found.append(Counter(f"RAPL {name}", _reader(folder / "energy_uj"), 1e-6, full))
        found[-1].read()
    if not found:
        raise OSError("no counter of a processor package (Linux RAPL) on this platform")
    return found


def _reader(file: Path) -> Callable[[], int]:
    def read() -> int:
        try:
            return int(file.read_text())
        except (OSError, ValueError) as error:
            raise OSError(f"RAPL: {file} cannot be read ({_said(error)})") from None

    return read


def nvidia(device: torch.device) -> Counter:
    """OSError without its package, or if the driver does not count for this GPU."""
    try:
        import pynvml
    except ImportError:
        raise OSError(f"NVML: pynvml is missing ({how_to_install('energy')})") from None
    properties = torch.cuda.get_device_properties(device)
    try:
        pynvml.nvmlInit()
        # By name, since NVML's indices do not heed CUDA_VISIBLE_DEVICES.
        handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{properties.uuid}")
    except pynvml.NVMLError as error:
        raise OSError(f"NVML: {properties.name} is not found ({error})") from None

    def read() -> int:
        try:
            return int(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle))
        except pynvml.NVMLError as error:
            raise OSError(f"NVML: {properties.name} does not count its energy ({error})") from None

    return Counter(f"NVML {properties.name}", read, 1e-3, 2**64)


def outcome(joules: float | None, source: str) -> dict[str, Any]:
    """For a run's results. A counter that has not moved, as in some virtual machines, counts nothing."""
    if joules is None:
        return {"energy_joules": None, "energy_source": source}
    if joules == 0:
        return {"energy_joules": None, "energy_source": f"{source} stood still"}
    return {"energy_joules": joules, "energy_source": source}


def _said(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
