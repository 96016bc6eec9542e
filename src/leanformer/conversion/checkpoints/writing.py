"""A converted model as a new folder, in the files that transformers reads."""

from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor
from transformers.configuration_utils import PreTrainedConfig

from leanformer.conversion.checkpoints.tokenizer import copy_tokenizer
from leanformer.data import tokenizer_files
from leanformer.files import new_directory, write_sums
from leanformer.models.saved import WEIGHTS


def write(
    config: PreTrainedConfig,
    tensors: Mapping[str, Tensor],
    target: Path,
    *,
    source: Path,
    tokenizer_class: str,
    files: Mapping[str, str] | None = None,
) -> None:
    """The directory `target`, with the tokenizer of the directory `source` if it has one and more `files`, name and
    text: whole or not at all."""
    with new_directory(target, replace=False) as folder:
        config.save_pretrained(folder)
        save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, folder / WEIGHTS, {"format": "pt"})
        if copy_tokenizer(source, folder, tokenizer_class):
            tokenizer_files.match_model(folder)
        for name, text in (files or {}).items():
            (folder / name).write_text(text, encoding="utf-8")
        write_sums(folder)
