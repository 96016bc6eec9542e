"""The files of a Hugging Face checkpoint directory: config.json, safetensors in one piece or in shards, a tokenizer."""

import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor
from transformers import AutoTokenizer
from transformers.configuration_utils import PreTrainedConfig

from leanformer.data import tokenizer_files
from leanformer.files import new_directory, within, write_sums
from leanformer.models.config import LeanformerConfig
from leanformer.models.saved import INDEX, WEIGHTS, quiet, require_safetensors
from leanformer.records import reading
from leanformer.records.models import Config, WeightIndex

TOKENIZER = (
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
)

VOCABULARIES = ("tokenizer.json", "vocab.txt", "vocab.json")
"""One of these has the words."""
SENTENCEPIECE = ("spiece.model", "sentencepiece.bpe.model", "tokenizer.model", "spm.model")
"""Vocabularies that need another library, and are not copied."""
SAVE_AGAIN = "load the tokenizer with the transformers it was made with and save_pretrained it, as tokenizer.json"


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


def check_tokenizer(directory: Path, vocab_size: int, tokenizer_class: str) -> None:
    """ValueError unless the tokenizer's files, if there are any, can be read without others, number tokens as they say,
    and give none a number that no row of the embeddings belongs to."""
    modern, words, numbers = (directory / name for name in VOCABULARIES)
    present = [name for name in (*TOKENIZER, *SENTENCEPIECE) if (directory / name).exists()]
    if not present:
        return
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
        raise ValueError(
            f"{directory / present[-1]} is of a tokenizer without {', '.join(VOCABULARIES)}, none of which lies there: "
            f"{SAVE_AGAIN}, or take its files away to convert the weights alone"
        )
    _require_rows(found, size, vocab_size)
    vocabulary = _vocabulary(directory, tokenizer_class)
    read = max(vocabulary.values(), default=-1) + 1
    if read < size:
        raise ValueError(f"{found} numbers {size:,} tokens, of which {read:,} are read: {SAVE_AGAIN}")
    _require_added_tokens(directory, vocabulary, vocab_size)
    _require_rows(directory, read, vocab_size)


def _vocabulary(directory: Path, tokenizer_class: str) -> dict[str, int]:
    """As the copy of the tokenizer will be read."""
    with tempfile.TemporaryDirectory() as copy, quiet():
        copy_tokenizer(directory, Path(copy), tokenizer_class)
        try:
            tokenizer = AutoTokenizer.from_pretrained(copy, trust_remote_code=False)
        except Exception as error:  # each kind of tokenizer has its own
            if "trust_remote_code" in str(error):
                raise ValueError(tokenizer_files.OWN_CODE.format(directory)) from None
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise ValueError(f"{directory}: its tokenizer cannot be read ({reason}): {SAVE_AGAIN}") from None
    return dict(tokenizer.get_vocab())


def _require_added_tokens(directory: Path, vocabulary: Mapping[str, int], vocab_size: int) -> None:
    """ValueError unless those that the files list have the numbers that are written there."""
    added, settings = directory / "added_tokens.json", directory / "tokenizer_config.json"
    promised = [(added, token, number) for token, number in (_read_json(added) if added.exists() else {}).items()]
    rows = _read_json(settings).get("added_tokens_decoder") or {} if settings.exists() else {}
    promised += [(settings, row["content"], int(number)) for number, row in rows.items()]
    for file, token, number in promised:
        _require_rows(file, number + 1, vocab_size)
        if vocabulary.get(token) != number:
            raise ValueError(
                f"{file} gives {token!r} the number {number}, but the tokenizer reads it as {vocabulary.get(token)}: "
                f"{SAVE_AGAIN}"
            )


def _require_rows(found: Path, size: int, vocab_size: int) -> None:
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
            tokenizer_files.match_model(folder)
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
