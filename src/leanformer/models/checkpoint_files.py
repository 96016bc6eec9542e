"""The files of a Hugging Face checkpoint directory: config.json, safetensors in one piece or in shards, a tokenizer."""

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers.configuration_utils import PreTrainedConfig

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json", "added_tokens.json")


def read_config(directory: Path, model_type: str) -> dict[str, Any]:
    path = directory / "config.json"
    settings = _read_json(path)
    found = settings.get("model_type")
    if found != model_type:
        raise ValueError(f"{path}: model_type is {found!r}, expected {model_type!r}; no other family converts")
    return settings


def read_weights(directory: Path) -> dict[str, Tensor]:
    if (directory / INDEX).exists():
        shards = sorted(set(_read_json(directory / INDEX).get("weight_map", {}).values()))
        if not shards:
            raise ValueError(f"{directory / INDEX} lists no weights: copy or download it again")
    else:
        shards = [WEIGHTS]
    tensors: dict[str, Tensor] = {}
    for shard in shards:
        path = directory / shard
        if path.exists():
            try:
                tensors |= load_file(path)
            except SafetensorError as error:
                raise ValueError(f"{path} is damaged ({error}): copy or download it again") from None
        elif shard != WEIGHTS:
            raise FileNotFoundError(f"{path} is missing, which {INDEX} lists: copy or download it again")
        elif pickled := sorted(directory.glob("*.bin")):
            raise ValueError(
                f"{pickled[0]} is a pickle, which may run code when read: if you trust it, load it with transformers "
                "and save_pretrained it, which writes safetensors"
            )
        else:
            raise FileNotFoundError(f"{path} is missing: the directory holds no weights that can be read")
    return dict(sorted(tensors.items()))


def write(config: PreTrainedConfig, tensors: dict[str, Tensor], tokenizer: Path, target: Path) -> None:
    """The directory `target`, with the tokenizer of the directory `tokenizer` if it has one: whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        config.save_pretrained(partial)
        save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, partial / WEIGHTS, {"format": "pt"})
        copied = [shutil.copy(tokenizer / name, partial) for name in TOKENIZER if (tokenizer / name).exists()]
        if copied:
            _name_tokenizer_class(partial / "tokenizer_config.json")
        partial.chmod(0o755)
        partial.replace(target)
    except SafetensorError as error:
        raise OSError(f"cannot write {target}: {error}") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _name_tokenizer_class(path: Path) -> None:
    """Old BERTs leave the class to the model's type, which converting changes."""
    settings = _read_json(path) if path.exists() else {}
    if "tokenizer_class" not in settings:
        path.write_text(json.dumps(settings | {"tokenizer_class": "BertTokenizer"}, indent=2), encoding="utf-8")


def _read_json(path: Path) -> dict[str, Any]:
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: give the directory of a saved model")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ValueError(f"{path} is not a JSON object: copy or download it again")
    return found
