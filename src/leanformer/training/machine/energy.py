"""The energy that the machine uses while a run trains, in joules, where the platform measures it.

    joules = sum over counters, over readings t, of unit (count(t) - count(t - 1)) mod full

    RAPL   Linux: one counter of microjoules per processor package, its cores, caches and memory controllers
           (https://docs.kernel.org/power/powercap/powercap.html); many systems let only root read it
    NVML   NVIDIA: one counter of millijoules per GPU, board and memory, since Volta; needs the package nvidia-ml-py

Both count everything that the package or the board does, for other processes too: if two runs train at the same time,
each counts the energy of both. Neither counts main memory, disks, fans and losses of the power supply.
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
"""The seconds between two readings. A RAPL counter wraps after 65 kJ or more, minutes, so at most once in between."""


@dataclass(frozen=True)
class Counter:
    name: str
    read: Callable[[], int]
    """Returns the count; raises OSError where it cannot be read."""
    unit: float
    """Joules per count."""
    full: int
    """The count at which the counter wraps to zero."""


class Meter:
    """The energy that one process of a run measures.

    `before` and `source` are the values of the run's earlier part, 0.0 and "" if there is none. If a counter cannot be
    read, now or in the earlier part, or if the earlier part used other counters, the joules of the run are unknown: a
    part is never reported as the whole. `source` names the counters, or says why there are none.
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
        """Read the counters if a reading is due, so that none wraps twice; the loop calls it after every step."""
        if time.monotonic() >= self._due:
            self.read()

    def read(self) -> float | None:
        """Returns the joules so far, None if they are unknown."""
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
    """Returns the counters of a run on `device`: its GPU and, if `packages`, the processors.

    One process per machine counts the processors. Raises OSError with the reason if the device has no counter; beside a
    GPU, processors without a counter are left out.
    """
    if device.type != "cuda":
        return processors() if packages else []
    gpu = nvidia(device)
    try:
        return [*(processors() if packages else []), gpu]
    except OSError:
        return [gpu]


def processors() -> list[Counter]:
    """Returns the counters of all processor packages; raises OSError unless all of them can be read."""
    packages = []
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
        packages.append(Counter(f"RAPL {name}", _reader(folder / "energy_uj"), 1e-6, full))
        packages[-1].read()
    if not packages:
        raise OSError("no counter of a processor package (Linux RAPL) on this platform")
    return packages


def _reader(file: Path) -> Callable[[], int]:
    def read() -> int:
        try:
            return int(file.read_text())
        except (OSError, ValueError) as error:
            raise OSError(f"RAPL: {file} cannot be read ({_said(error)})") from None

    return read


def nvidia(device: torch.device) -> Counter:
    """Returns the counter of the GPU; raises OSError if pynvml is missing or the driver has no counter for this GPU."""
    try:
        import pynvml
    except ImportError:
        raise OSError(f"NVML: pynvml is missing ({how_to_install('energy')})") from None
    properties = torch.cuda.get_device_properties(device)
    try:
        pynvml.nvmlInit()
        # By UUID, since NVML's indices ignore CUDA_VISIBLE_DEVICES.
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
    """Returns the entries of a run's results. A counter that never moves, as in some virtual machines, is not used."""
    if joules is None:
        return {"energy_joules": None, "energy_source": source}
    if joules == 0:
        return {"energy_joules": None, "energy_source": f"{source} stood still"}
    return {"energy_joules": joules, "energy_source": source}


def _said(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
