"""What a checkpoint's folder holds, under the names it was saved by: its config and its tensors."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from transformers.configuration_utils import PreTrainedConfig

from leanformer.conversion.checkpoints.families import FAMILIES, REFUSED
from leanformer.conversion.checkpoints.names import Family
from leanformer.models import saved
from leanformer.models.config import LeanformerConfig
from leanformer.records import reading
from leanformer.records.models import Config
from leanformer.spelling import suggest

AGAIN = "copy or download it again"


class Stored(NamedTuple):
    folder: Path
    family: Family | None
    """None for a model of leanformer's."""
    config: PreTrainedConfig
    """The config, of the family's class."""
    tensors: dict[str, Tensor]
    sha256: str | None
    """The hash of the weights, by which runs name a model; None for weights in several files."""


def read(folder: Path, *, ignore_remote_code: bool = False) -> Stored:
    """ValueError for a family that does not convert, for a setting that leanformer cannot express, for weights that
    cannot be read, and if the checkpoint brings code, which is never run, unless that is to be ignored."""
    path = folder / "config.json"
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: give the directory of a saved model")
    settings = reading.read(path, Config, AGAIN)
    kind, code = settings.get("model_type"), settings.pop("auto_map", None)
    own = kind == LeanformerConfig.model_type
    if code and not own and not ignore_remote_code:  # an export's code is what is installed here
        raise ValueError(
            f"{path} names code of its own (auto_map), which may compute something else than its model_type says and "
            "is never run here: read it, and if the tensors alone are the model, add --ignore-remote-code"
        )
    if kind in REFUSED:
        raise ValueError(f"{path}: {REFUSED[kind]}")
    if not own and kind not in FAMILIES:
        remedy = suggest(str(kind), [*FAMILIES, LeanformerConfig.model_type])
        raise ValueError(f"{path}: model_type is {kind!r}, and no such family converts; {remedy}")
    family = None if own else FAMILIES[str(kind)]
    for key, value in family.only_with.items() if family else ():
        if settings.get(key, value) != value:
            raise ValueError(f"{path}: leanformer cannot express {key} = {settings[key]!r}, only {value!r}")
    config = saved.read_as(LeanformerConfig if family is None else family.config, settings, folder)
    tensors = _tensors(folder, settings)
    whole = (folder / saved.WEIGHTS).is_file()
    return Stored(folder, family, config, tensors, saved.weights_hash(folder) if whole else None)


def _tensors(folder: Path, settings: Mapping[str, Any]) -> dict[str, Tensor]:
    """All by name. ValueError for a file that is damaged, for values that are no numbers, and for fewer tensors than
    config.json, the `settings`, has layers."""
    paths = saved.weight_files(folder, AGAIN)
    if not paths:
        raise ValueError(f"{folder / saved.INDEX} lists no weights: {AGAIN}")
    tensors: dict[str, Tensor] = {}
    for path in paths:
        if not path.exists():
            listed = "" if path.name == saved.WEIGHTS else f", which {saved.INDEX} lists"
            raise FileNotFoundError(f"{path} is missing{listed}: {AGAIN}")
        try:
            tensors |= load_file(path)
        except SafetensorError as error:
            raise ValueError(f"{path} is damaged ({error}): {AGAIN}") from None
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise ValueError(f"{folder}: {name} holds values that are no finite numbers: {AGAIN}")
    saved.require_layers(folder, settings, len(tensors))
    return dict(sorted(tensors.items()))
