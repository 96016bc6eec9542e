"""`--slurm`: what each allocation asks of Slurm, as key=value or in a TOML file, by the names of sbatch's options.

partition = "gpu"
account = "lab"
gpus_per_node = 1
time = "4:00:00"              minutes, or as sbatch takes it; a run that needs more is saved, requeued and goes on
mem = "16G"
signal_delay_s = 120          seconds before the time limit at which runs are asked to save their work
setup = ["module load cuda"]  lines of the batch file before its command
"""

import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from leanformer.install import how_to_install

DEFAULTS: Mapping[str, Any] = {"time": 60, "signal_delay_s": 120, "requeue": True, "job_name": "leanformer"}
RESTARTS = 1000
"""Times that a task may reach its time limit and go on."""
OWN = ("comment", "array", "array_parallelism", "signal", "output", "error", "nodes", "ntasks_per_node")
"""Options that are this program's."""


def read_options(given: Sequence[str]) -> dict[str, Any]:
    """Returns the options of all key=value and files given, later ones over earlier ones."""
    options = dict[str, Any]()
    for each in given:
        key, equals, value = each.partition("=")
        if equals:
            options[key.strip().lstrip("-").replace("-", "_")] = _value(value.strip())
        elif Path(each).is_file():
            try:
                tables = tomllib.loads(Path(each).read_text(encoding="utf-8"))
            except ValueError as error:
                raise ValueError(f"--slurm {each} is no TOML ({error}): mend it") from None
            options |= {name.replace("-", "_"): value for name, value in tables.items()}
        else:
            raise ValueError(f"--slurm {each}: there is no such file; give a TOML file or key=value, as partition=gpu")
    for key, value in options.items():
        if key in OWN:
            raise ValueError(f"--slurm {key}: leanformer sets this itself; leave it out")
        if isinstance(value, dict):
            raise ValueError(f"--slurm: {key} is a table; write every option at the top of the file")
    if "time" in options:
        options["time"] = minutes(options["time"])
    return options


def minutes(time: int | str) -> int:
    """Returns the minutes of a time limit in one of sbatch's forms: 90, 30:00, 1:30:00, 1-12, 1-12:30, 1-12:30:00."""
    text = str(time).strip()
    found = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", text)
    if not found:
        raise ValueError(f"--slurm time={time}: write minutes, H:MM:SS or D-HH:MM:SS")
    days, first, second, third = (int(part) if part else None for part in found.groups())
    if days is not None:
        seconds = days * 86400 + (first or 0) * 3600 + (second or 0) * 60 + (third or 0)
    elif third is not None:
        seconds = (first or 0) * 3600 + (second or 0) * 60 + third
    else:
        seconds = (first or 0) * 60 + (second or 0)
    if not seconds:
        raise ValueError(f"--slurm time={time}: a time limit of at least a minute is needed")
    return -(-seconds // 60)


def submitter(folder: Path, options: Mapping[str, Any], parallel: int, *, preview: bool = False) -> Any:
    """Returns submitit's executor with these options; its files go to `folder`. A preview needs no Slurm here."""
    try:
        from submitit import SlurmExecutor
    except ImportError:
        raise ValueError(f"--executor slurm needs submitit: {how_to_install('slurm')}") from None

    class Preview(SlurmExecutor):
        @classmethod
        def affinity(cls) -> int:
            return 1

    try:
        made = (Preview if preview else SlurmExecutor)(folder, max_num_timeout=RESTARTS)
    except RuntimeError:
        raise ValueError("--executor slurm: there is no srun here; give the command on a login node") from None
    chosen = {**DEFAULTS, **options}
    known = SlurmExecutor._valid_parameters() - {"additional_parameters"}
    own = {key: value for key, value in chosen.items() if key in known}
    for key in ("setup", "teardown", "srun_args"):
        if isinstance(own.get(key), str):
            own[key] = [own[key]]
    more = {key.replace("_", "-"): value for key, value in chosen.items() if key not in known and value is not False}
    made.update_parameters(**own, array_parallelism=parallel, stderr_to_stdout=True, additional_parameters=more)
    return made


def batch_file(folder: Path, options: Mapping[str, Any], parallel: int, tasks: int) -> str:
    """Returns the batch file of an array, as it would be submitted."""
    made = submitter(folder, options, parallel, preview=True)
    if tasks > 1:
        made.parameters["map_count"] = tasks
    return str(made._make_submission_file_text(made._submitit_command_str, ""))


def _value(text: str) -> Any:
    return {"true": True, "false": False}.get(text.lower(), text)
