"""Saved models as training knows them: what a run starts from, who teaches it, and what it leaves behind.

How such a folder is found and read is said in `models/saved.py`; here it meets the data, in whose tokens it must be.
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self, TypeVar

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

import leanformer.models as models
from leanformer import files
from leanformer.data import tokenizer_files
from leanformer.data.corpus import Prepared
from leanformer.models import LeanformerPreTrainedModel, saved
from leanformer.models.config import LeanformerConfig
from leanformer.models.initialisation import initialise
from leanformer.models.sentence_parts import SentenceParts
from leanformer.training.machine.sharding import whole
from leanformer.training.run.state_tensors import fill, weights

M = TypeVar("M", bound=LeanformerPreTrainedModel)

CHANGEABLE = ("hidden_dropout_prob", "attention_probs_dropout_prob", "residual_in_fp32")
"""Settings of a saved model that its weights do not depend on."""


@dataclass(frozen=True)
class SavedModel:
    folder: Path
    config: LeanformerConfig
    sha256: str
    """Of the weights."""

    @classmethod
    def open(cls, place: str | Path, data: Prepared) -> Self:
        """The model of this run or folder; ValueError unless `data` are in its tokens."""
        folder = saved.locate(Path(place))
        config, sha256 = saved.config_of(folder), saved.weights_hash(folder)
        _require_tokenizer(folder, data)
        return cls(folder, config, sha256)

    def changed(self, settings: Mapping[str, Any]) -> LeanformerConfig:
        """Its config with what [model] of the settings changes: ValueError for what the weights depend on."""
        fixed = {f.name for f in fields(LeanformerConfig)} - set(CHANGEABLE)
        for key in settings.keys() & fixed:
            if settings[key] != getattr(self.config, key):
                raise ValueError(
                    f"model.{key} = {settings[key]!r}: the model in {self.folder} has {getattr(self.config, key)!r}; "
                    f"leave it out, only {', '.join(CHANGEABLE)} may change"
                )
        LeanformerConfig.from_settings({key: value for key, value in settings.items() if key not in fixed})  # checked
        return LeanformerConfig.from_dict(self.config.to_dict() | dict(settings))

    def load(self, kind: type[M], config: LeanformerConfig | None = None, head: int | None = None) -> M:
        """ValueError for a saved model of other stacks than this class has, and if the file lacks a weight of it; a
        head that is missing whole starts from the seed `head`, if one is given."""
        own = saved.class_of(self.folder, self.config) if self.config.architectures else kind
        if _stacks(own) != _stacks(kind):
            raise ValueError(
                f"{self.folder} holds a {own.__name__}, which cannot become a {kind.__name__}: give another model, "
                "or the training.objective it was made for"
            )
        model, missing = saved.load_weights(kind, self.folder, config or self.config)
        if head is not None and all(key.startswith("head.") for key in missing):
            if missing:
                initialise(model, head, only="head.")
        elif missing:
            raise ValueError(f"{self.folder} holds no {kind.__name__}, {missing[0]} is missing: give another model")
        return model

    @property
    def record(self) -> dict[str, str]:
        return {"path": str(self.folder.resolve()), "sha256": self.sha256}


@torch.no_grad()
def copy_of(model: LeanformerPreTrainedModel, kind: type[M], main: bool) -> M | None:
    """Returns a model of this class on the CPU with the weights of `model`, which may be in training and sharded.

    All processes call it, and only the `main` one gets the copy.
    """
    found: dict[str, Tensor] = {}
    for name, tensor in weights(model).items():
        together = whole(tensor)
        if main:
            found[name] = together.cpu()
    if not main:
        return None
    copy = kind(model.config)
    fill(copy, found)
    return copy


def save(
    model: LeanformerPreTrainedModel,
    tokenizer: PreTrainedTokenizerBase | Sequence[Path],
    path: Path,
    parts: SentenceParts | None = None,
) -> None:
    """save_pretrained, the tokenizer (or copies of its files), the parts of sentence-transformers if there are any, and
    the sums in the new folder `path`: all or nothing."""
    with files.new_directory(path) as folder, saved.quiet():
        model.save_pretrained(folder)
        if isinstance(tokenizer, PreTrainedTokenizerBase):
            tokenizer_files.save(tokenizer, folder)
        else:
            for file in tokenizer:
                shutil.copyfile(file, folder / file.name)
        if parts is not None:
            parts.copy(folder, model.config.max_position_embeddings)
        tokenizer_files.match_model(folder)
        files.write_sums(folder)


def _stacks(kind: type[LeanformerPreTrainedModel]) -> str:
    """encoder, decoder or both"""
    return "both" if issubclass(kind, models.LeanformerForConditionalGeneration) else kind.base_model_prefix


def _require_tokenizer(folder: Path, data: Prepared) -> None:
    own, given = folder / tokenizer_files.FILE, data.path / tokenizer_files.FILE
    if not own.is_file():
        raise FileNotFoundError(f"{own} is missing, so {data.path} may be in other tokens: copy the model's there")
    if files.sha256(own) == files.sha256(given):
        return
    vocabularies = [tokenizer_files.load(place).get_vocab() for place in (folder, data.path)]
    if vocabularies[0] != vocabularies[1]:
        raise ValueError(
            f"{data.path} was prepared with another tokenizer than {folder}: leanformer prepare --tokenizer {own}"
        )
