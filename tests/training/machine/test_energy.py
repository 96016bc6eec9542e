"""Joules by counters that the test moves: a folder like the kernel's, a module like NVIDIA's."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from leanformer.install import how_to_install
from leanformer.training.machine import energy
from leanformer.training.machine.energy import EVERY, Meter, outcome

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


class Machine:
    """/sys/class/powercap with the given packages, and what lies beside them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, zone: str, name: str, count: int, full: int = 10**9) -> None:
        (self.folder / zone).mkdir(parents=True)
        (self.folder / zone / "name").write_text(name + "\n")
        (self.folder / zone / "max_energy_range_uj").write_text(f"{full}\n")
        self.set(zone, count)

    def set(self, zone: str, count: int) -> None:
        (self.folder / zone / "energy_uj").write_text(f"{count}\n")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setattr(energy, "POWERCAP", tmp_path / "powercap")
    return Machine(tmp_path / "powercap")


class NVMLError(Exception):
    pass


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """pynvml of a machine with one GPU; `millijoules` is its counter, None if it has none."""

    def handle(uuid: str) -> str:
        if uuid != "GPU-5-7":
            raise NVMLError("Not Found")
        return "handle"

    def total(of: str) -> int:
        assert of == "handle"
        if module.millijoules is None:
            raise NVMLError("Not Supported")
        return module.millijoules

    module = SimpleNamespace(
        NVMLError=NVMLError,
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByUUID=handle,
        nvmlDeviceGetTotalEnergyConsumption=total,
        millijoules=7_000,
    )
    monkeypatch.setitem(sys.modules, "pynvml", module)
    properties = SimpleNamespace(name="A GPU", uuid="5-7")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
    return module


def test_packages_are_added_up_and_their_parts_are_not(machine: Machine) -> None:
    machine.add("intel-rapl:0", "package-0", 500)
    machine.add("intel-rapl:0:0", "core", 300)
    machine.add("intel-rapl:1", "package-1", 100)
    machine.add("intel-rapl:2", "psys", 900)
    machine.add("intel-rapl-mmio:0", "package-0", 500)
    meter = Meter(CPU, packages=True)
    assert meter.read() == 0
    for zone, count in (("0", 2_000_500), ("0:0", 1_000_000), ("1", 3_000_100), ("2", 90_000_000)):
        machine.set(f"intel-rapl:{zone}", count)
    machine.set("intel-rapl-mmio:0", 2_000_500)
    assert meter.read() == pytest.approx(2 + 3)
    assert meter.source == "RAPL package-0 + RAPL package-1"


def test_a_full_counter_starts_anew(machine: Machine) -> None:
    machine.add("intel-rapl:0", "package-0", 900, full=1_000)
    meter = Meter(CPU, packages=True)
    machine.set("intel-rapl:0", 200)
    assert meter.read() == pytest.approx(300e-6)
    machine.set("intel-rapl:0", 100)
    assert meter.read() == pytest.approx(1_200e-6)


def test_counters_are_read_now_and_then(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two ticks that are due a counter of 1,000 is full once: three readings see 2,500 of it, one would 500."""
    now = 50.0
    monkeypatch.setattr(energy, "time", SimpleNamespace(monotonic=lambda: now))
    machine.add("intel-rapl:0", "package-0", 0, full=1_000)
    meter = Meter(CPU, packages=True)
    for total in (900, 1_700, 2_500):
        machine.set("intel-rapl:0", total % 1_000)
        meter.tick()
        machine.set("intel-rapl:0", 1)  # not due: not seen
        now += EVERY / 2
        meter.tick()
        machine.set("intel-rapl:0", total % 1_000)
        now += EVERY / 2
    assert meter.read() == pytest.approx(2_500e-6)


def test_a_platform_without_counters_is_silent_and_says_so(machine: Machine) -> None:
    meter = Meter(CPU, packages=True)
    assert meter.read() is None
    meter.tick()
    assert meter.source == "no counter of a processor package (Linux RAPL) on this platform"


@pytest.mark.parametrize("name", ["name", "max_energy_range_uj", "energy_uj"])
def test_what_cannot_be_read_is_silent(name: str, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for all but root since 2020; of two packages one alone would be half the truth."""
    machine.add("intel-rapl:0", "package-0", 5)
    machine.add("intel-rapl:1", "package-1", 5)
    read = Path.read_text

    def refuse(path: Path, *arguments: object, **named: object) -> str:
        if path == machine.folder / "intel-rapl:1" / name:
            raise PermissionError(13, "Permission denied")
        return read(path, *arguments, **named)

    monkeypatch.setattr(Path, "read_text", refuse)
    meter = Meter(CPU, packages=True)
    assert meter.read() is None
    assert meter.source.startswith(f"RAPL: {machine.folder}/intel-rapl:1")
    assert meter.source.endswith("cannot be read (Permission denied)")


@pytest.mark.parametrize(("file", "text"), [("energy_uj", "much"), ("max_energy_range_uj", "0")])
def test_what_makes_no_sense_is_silent(file: str, text: str, machine: Machine) -> None:
    machine.add("intel-rapl:0", "package-0", 5)
    (machine.folder / "intel-rapl:0" / file).write_text(text)
    meter = Meter(CPU, packages=True)
    assert meter.read() is None and file in meter.source


def test_a_counter_lost_on_the_way_makes_the_joules_unknown(machine: Machine) -> None:
    machine.add("intel-rapl:0", "package-0", 5)
    meter = Meter(CPU, packages=True)
    (machine.folder / "intel-rapl:0/energy_uj").unlink()
    assert meter.read() is None
    machine.set("intel-rapl:0", 10)
    assert meter.read() is None
    assert meter.source.endswith("energy_uj cannot be read (No such file or directory)")


def test_a_resumed_run_goes_on_adding(machine: Machine) -> None:
    machine.add("intel-rapl:0", "package-0", 5)
    meter = Meter(CPU, packages=True, before=40.0, source="RAPL package-0")
    machine.set("intel-rapl:0", 2_000_005)
    assert meter.read() == pytest.approx(42)


def test_parts_counted_in_another_way_are_no_sum(machine: Machine) -> None:
    machine.add("intel-rapl:0", "package-0", 5)
    other = Meter(CPU, packages=True, before=40.0, source="NVML A GPU")
    assert other.read() is None and other.source == "NVML A GPU; after a resume: RAPL package-0"
    unknown = Meter(CPU, packages=True, before=None, source="why not")
    assert unknown.read() is None and unknown.source == "why not"


def test_packages_are_counted_by_one_process_of_a_machine(machine: Machine) -> None:
    machine.add("intel-rapl:0", "package-0", 5)
    second = Meter(CPU, packages=False, source="RAPL package-0")
    machine.set("intel-rapl:0", 2_000_005)
    assert second.read() == 0


def test_a_gpu_and_its_host_are_added_up(machine: Machine, nvml: SimpleNamespace) -> None:
    machine.add("intel-rapl:0", "package-0", 0)
    both, second = Meter(GPU, packages=True), Meter(GPU, packages=False)
    machine.set("intel-rapl:0", 1_000_000)
    nvml.millijoules = 9_500
    assert both.read() == pytest.approx(1 + 2.5) and both.source == "RAPL package-0 + NVML A GPU"
    assert second.read() == pytest.approx(2.5)


@pytest.mark.parametrize("locked", [False, True])
def test_a_gpu_tells_without_its_host(locked: bool, machine: Machine, nvml: SimpleNamespace) -> None:
    if locked:
        machine.add("intel-rapl:0", "package-0", 5)
        (machine.folder / "intel-rapl:0/energy_uj").unlink()
    meter = Meter(GPU, packages=True)
    nvml.millijoules = 8_000
    assert meter.read() == pytest.approx(1) and meter.source == "NVML A GPU"


def test_a_host_does_not_tell_without_its_gpu(
    machine: Machine, nvml: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.add("intel-rapl:0", "package-0", 0)
    nvml.millijoules = None
    meter = Meter(GPU, packages=True)
    assert meter.read() is None and meter.source == "NVML: A GPU does not count its energy (Not Supported)"
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert Meter(GPU, packages=True).source == f"NVML: pynvml is missing ({how_to_install('energy')})"


def test_a_gpu_that_nvml_does_not_know_is_silent(nvml: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    part = SimpleNamespace(name="A part", uuid="11")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: part)
    assert Meter(GPU, packages=False).source == "NVML: A part is not found (Not Found)"


def test_a_counter_that_stands_still_counts_nothing() -> None:
    assert outcome(0.0, "RAPL package-0") == {"energy_joules": None, "energy_source": "RAPL package-0 stood still"}
    assert outcome(3.5, "RAPL package-0") == {"energy_joules": 3.5, "energy_source": "RAPL package-0"}
    assert outcome(None, "none") == {"energy_joules": None, "energy_source": "none"}
