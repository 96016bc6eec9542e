"""The tensors of a sharded run in a checkpoint: each process writes its parts, any number of processes reads them.

    step-00001000/shard-00001-model-00001-of-00001.safetensors    parts of process 0: model.NAME, optimizer.NAME.moment
                  shard-00002-...                                 those of process 1, and so on

They are written and read by torch.distributed.checkpoint. The head of a file says where in the whole tensor each part
stands, so a process reads what it needs of every file, however many wrote them. The files are safetensors, and nothing
in them is a pickle.
"""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from torch import Tensor, nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader, HuggingFaceStorageWriter

from leanformer import files
from leanformer.training.machine.process_group import ProcessGroup
from leanformer.training.run.state_tensors import moments, set_moments, weights

PATTERN = "shard-*.safetensors"
MODEL, OPTIMIZER = "model.", "optimizer."


def write_parts(
    folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, group: ProcessGroup
) -> dict[str, str]:
    """Write the parts of this process, on disk when it returns; returns {file: sha256}. All processes call it.

    Raises OSError on all of them if one cannot write.
    """
    tensors = {f"{MODEL}{name}": tensor for name, tensor in weights(model).items()}
    tensors |= {f"{OPTIMIZER}{name}": tensor for name, tensor in moments(model, optimizer).items()}
    writer = HuggingFaceStorageWriter(str(folder), save_distributed=True)
    try:
        dcp.save(tensors, storage_writer=writer, process_group=group.hosts)
    except CheckpointException as error:
        process, (reason, _) = next(iter(error.failures.items()))
        raise OSError(f"cannot write {folder} (process {process}: {reason})") from error
    return {path.name: files.sha256(path) for path in folder.glob(f"shard-{group.rank + 1:05d}-*")}


def read_parts(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Set this process's parts of the model and of the optimizer's state, or all of them if they are not sharded.

    Raises ValueError if names or shapes differ from the model's.
    """
    reader = HuggingFaceStorageReader(str(folder))
    found = reader.read_metadata().state_dict_metadata
    targets: dict[str, Any] = {f"{MODEL}{name}": tensor for name, tensor in weights(model).items()}
    if different := sorted(targets.keys() ^ {name for name in found if name.startswith(MODEL)}):
        raise ValueError(f"it and the model disagree about {different[0].removeprefix(MODEL)}")
    parameters = {name: parameter.detach() for name, parameter in model.named_parameters()}
    for name, saved in found.items():
        if name.startswith(OPTIMIZER):
            targets[name] = _empty(saved, parameters[name.removeprefix(OPTIMIZER).rsplit(".", 1)[0]])
    for name, tensor in targets.items():
        if tensor.shape != _size(found[name]):
            raise ValueError(f"{name} has shape {tuple(_size(found[name]))}, the model's {tuple(tensor.shape)}")
    with warnings.catch_warnings():  # no process needs another one here, which is what the warning is about
        warnings.filterwarnings("ignore", "torch.distributed is disabled")
        dcp.load(targets, storage_reader=reader, no_dist=True)
    set_moments(model, optimizer, _under(OPTIMIZER, targets))


def _size(saved: Any) -> torch.Size:
    return saved.size


def _empty(saved: Any, parameter: Tensor) -> Tensor:
    """Returns a moment to be read: sharded as its parameter, or a number of steps."""
    like_parameter = saved.size == parameter.shape
    return torch.zeros_like(parameter) if like_parameter else torch.zeros(saved.size, dtype=saved.properties.dtype)


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
