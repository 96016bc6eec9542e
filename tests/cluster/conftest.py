"""A Slurm of two nodes on this machine, and the comparison that all executors must equal."""

import importlib.util
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.cluster.comparisons import ALL, FOUR, on_this_machine, wait_for

PROGRAMS = ("slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol", "munged")
CONFIGURATION = """\
ClusterName=test
SlurmctldHost=localhost
SlurmctldPort={ports[0]}
SlurmUser=root
SlurmdUser=root
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
SlurmdTimeout=10
ReturnToService=2
KillWait=30
MpiDefault=none
NodeName=node1 NodeHostname=localhost NodeAddr=127.0.0.1 Port={ports[1]} CPUs=1
NodeName=node2 NodeHostname=localhost NodeAddr=127.0.0.1 Port={ports[2]} CPUs=1
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE
"""


@pytest.fixture(scope="session")
def local(data, tmp_path_factory) -> Path:
    """The 24 runs as processes of this machine, which nobody disturbs."""
    return undisturbed(data, tmp_path_factory.mktemp("local"), ALL)


@pytest.fixture(scope="session")
def four(data, tmp_path_factory) -> Path:
    """Four of them."""
    return undisturbed(data, tmp_path_factory.mktemp("four"), FOUR)


def undisturbed(data: Path, folder: Path, runs: tuple[str, ...]) -> Path:
    log = folder / "log"
    assert on_this_machine(data, folder / "comparison", runs, log).wait(1800) == 0, log.read_text()
    return folder / "comparison"


class Slurm:
    """slurmctld, two slurmd and munged, in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.environment = folder, os.environ | {"SLURM_CONF": f"{folder}/slurm.conf"}
        (folder / "state").mkdir()
        (folder / "slurm.conf").write_text(CONFIGURATION.format(folder=folder, ports=free_ports(3)))
        key = folder / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        files = {"socket": "munge.socket", "key-file": "munge.key", "log-file": "munged.log", "pid-file": "munged.pid"}
        files |= {"seed-file": "munge.seed"}
        self.call("munged", "--force", *(f"--{option}={folder}/{name}" for option, name in files.items()))
        self.call("slurmctld")
        for node in ("node1", "node2"):
            self.start(node)
        wait_for(lambda: self.call("sinfo", "--noheader", "--format=%D %t").split() == ["2", "idle"], 60)

    def call(self, *command: str) -> str:
        return subprocess.run(command, env=self.environment, check=True, capture_output=True, text=True).stdout

    def start(self, node: str) -> None:
        self.call("slurmd", "-N", node)

    def kill(self, node: str) -> None:
        """As if the machine had lost its power: its daemon, and all that the daemon has started."""
        jobs = self.call("squeue", "--noheader", f"--nodelist={node}", "--format=%A").split()
        found = [int((self.folder / f"slurmd-{node}.pid").read_text())]
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                said, given = (process / "cmdline").read_bytes(), (process / "environ").read_bytes().split(b"\0")
                step = any(said.startswith(f"slurmstepd: [{job}.".encode()) for job in jobs)
                conf = f"SLURM_CONF={self.folder}/slurm.conf".encode() in given
                if step or (conf and f"SLURMD_NODENAME={node}".encode() in given):
                    found.append(int(process.name))
        for number in found:
            with suppress(ProcessLookupError):
                os.kill(number, 9)

    def restart_controller(self) -> None:
        os.kill(int((self.folder / "slurmctld.pid").read_text()), 9)
        time.sleep(3)
        self.call("slurmctld")
        wait_for(lambda: self.call("squeue", "--noheader") is not None, 60)

    def end(self) -> None:
        with suppress(subprocess.CalledProcessError):
            self.call("scancel", "--user=root")
        for name in ("slurmd-node1", "slurmd-node2", "slurmctld", "munged"):
            with suppress(OSError, ValueError):
                os.kill(int((self.folder / f"{name}.pid").read_text()), 15)


@contextmanager
def slurm_of_two_nodes() -> Iterator[Slurm]:
    folder = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))  # a socket's path is short
    folder.chmod(0o755)
    made = Slurm(folder)
    try:
        yield made
    finally:
        made.end()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def slurm():
    if why := no_slurm():
        pytest.skip(why)
    with slurm_of_two_nodes() as made:
        yield made


def no_slurm() -> str:
    """Why there can be no Slurm here, and the remedy; "" if there can."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        return f"no {', '.join(missing)} here: apt-get install slurm-wlm munge"
    if importlib.util.find_spec("submitit") is None:
        return 'no submitit here: pip install -e ".[slurm]"'
    return "a Slurm of its own needs root" if os.geteuid() else ""


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
