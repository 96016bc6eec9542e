"""The files of a Hugging Face checkpoint directory: config.json, safetensors in one piece or in shards, a tokenizer."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor
from transformers.configuration_utils import PreTrainedConfig

from leanformer.data import tokenizer_files
from leanformer.files import new_directory, within, write_sums
from leanformer.models.config import LeanformerConfig
from leanformer.records import reading
from leanformer.records.models import Config, WeightIndex
from leanformer.training.saved_model import INDEX, WEIGHTS, require_safetensors

TOKENIZER = (
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
)


def read_config(directory: Path, ignore_remote_code: bool = False) -> dict[str, Any]:
    """The settings; ValueError if the checkpoint brings code, which is never run, unless that is to be ignored."""
    path = directory / "config.json"
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: give the directory of a saved model")
    settings = reading.read(path, Config, "copy or download it again")
    own = settings.get("model_type") == LeanformerConfig.model_type  # an export's code is what is installed here
    if settings.get("auto_map") and not own and not ignore_remote_code:
        raise ValueError(
            f"{path} names code of its own (auto_map), which may compute something else than its model_type says and "
            "is never run here: read it, and if the tensors alone are the model, add --ignore-remote-code"
        )
    return {key: value for key, value in settings.items() if key != "auto_map"}


def read_weights(directory: Path, settings: Mapping[str, Any]) -> dict[str, Tensor]:
    """All tensors by name. ValueError for a file that is damaged, for values that are no numbers, and for fewer tensors
    than config.json, the `settings`, has layers."""
    if (directory / INDEX).exists():
        index = reading.read(directory / INDEX, WeightIndex, "copy or download it again")
        shards = sorted(set(index["weight_map"].values()))
        if not shards:
            raise ValueError(f"{directory / INDEX} lists no weights: copy or download it again")
    else:
        require_safetensors(directory)
        shards = [WEIGHTS]
    tensors: dict[str, Tensor] = {}
    for shard in shards:
        path = within(directory, shard)
        if path.exists():
            try:
                tensors |= load_file(path)
            except SafetensorError as error:
                raise ValueError(f"{path} is damaged ({error}): copy or download it again") from None
        elif shard != WEIGHTS:
            raise FileNotFoundError(f"{path} is missing, which {INDEX} lists: copy or download it again")
        else:
            raise FileNotFoundError(f"{path} is missing: copy or download it again")
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise ValueError(f"{directory}: {name} holds values that are no finite numbers: copy or download it again")
    for key in ("num_hidden_layers", "num_decoder_layers", "n_layers"):
        if (settings.get(key) or 0) > len(tensors):
            raise ValueError(f"{directory}: config.json says {key} = {settings[key]}, more than there are weights")
    return dict(sorted(tensors.items()))


def check_tokenizer(directory: Path, vocab_size: int) -> None:
    """ValueError if the directory has a tokenizer with a number that no row of the embeddings belongs to."""
    modern, words, numbers = (directory / name for name in ("tokenizer.json", "vocab.txt", "vocab.json"))
    if modern.exists():
        try:
            size = max(Tokenizer.from_file(str(modern)).get_vocab().values(), default=-1) + 1
        except Exception as error:  # the tokenizers library raises bare Exceptions
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise ValueError(f"{modern} is damaged ({reason}): copy or download it again") from None
        found = modern
    elif words.exists():
        size, found = len(words.read_text(encoding="utf-8").rstrip("\n").split("\n")), words
    elif numbers.exists():
        size, found = max(_read_json(numbers).values(), default=-1) + 1, numbers
    else:
        return
    if size > vocab_size:
        raise ValueError(
            f"{found} numbers {size:,} tokens, but the model embeds {vocab_size:,}: "
            "copy the tokenizer that the model was trained with"
        )


def copy_tokenizer(source: Path, target: Path, tokenizer_class: str) -> bool:
    """Whether there is one. Old checkpoints leave its class to the model's type, which converting changes."""
    copied = [shutil.copy(within(source, name), target) for name in TOKENIZER if (source / name).exists()]
    if copied:
        path = target / "tokenizer_config.json"
        settings = _read_json(path) if path.exists() else {}
        if "tokenizer_class" not in settings:
            path.write_text(json.dumps(settings | {"tokenizer_class": tokenizer_class}, indent=2), encoding="utf-8")
    return bool(copied)


def write(
    config: PreTrainedConfig,
    tensors: Mapping[str, Tensor],
    target: Path,
    *,
    tokenizer: Path,
    tokenizer_class: str,
    files: Mapping[str, str] | None = None,
) -> None:
    """The directory `target`, with the tokenizer of the directory `tokenizer` if it has one and more `files`, name and
    text: whole or not at all."""
    with new_directory(target, replace=False) as folder:
        config.save_pretrained(folder)
        save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, folder / WEIGHTS, {"format": "pt"})
        if copy_tokenizer(tokenizer, folder, tokenizer_class):
            tokenizer_files.fit(folder)
        for name, text in (files or {}).items():
            (folder / name).write_text(text, encoding="utf-8")
        write_sums(folder)


def _read_json(path: Path) -> dict[str, Any]:
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: give the directory of a saved model")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ValueError(f"{path} is not a JSON object: copy or download it again")
    return found
