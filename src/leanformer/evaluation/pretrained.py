"""Loading a pre-trained model from a run directory (RUN/model) or from any folder that save_pretrained wrote."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from accelerate import Accelerator
from transformers import PreTrainedTokenizerBase

from leanformer.data import tokenizer_files
from leanformer.data.corpus import Prepared
from leanformer.data.pairs import PairCorpus
from leanformer.data.tasks import Task
from leanformer.models import (
    LeanformerConfig,
    LeanformerForMultipleChoice,
    LeanformerForQuestionAnswering,
    LeanformerForTokenClassification,
    LeanformerModel,
    LeanformerPreTrainedModel,
)
from leanformer.models.saved import class_of, config_of, load_weights, locate, quiet, record_of
from leanformer.training.objectives.table import OBJECTIVES

M = TypeVar("M", bound=LeanformerPreTrainedModel)

DECODERS = ("LeanformerDecoder", "LeanformerForCausalLM", "LeanformerForConditionalGeneration")
TOKENIZERS = (tokenizer_files.FILE, tokenizer_files.CONFIG)
"""The files of a tokenizer, of which one is enough."""
CLASSIFIERS: dict[str, type[LeanformerPreTrainedModel]] = {
    "span": LeanformerForQuestionAnswering,
    "multiple_choice": LeanformerForMultipleChoice,
    "token_classification": LeanformerForTokenClassification,
}
"""The classes of models for kinds of task; other kinds use that of sequences."""


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """Returns the tokenizer beside the model.

    It marks the texts of a pair if the model distinguishes them, and truncates to the model's length.
    `tokenizer_files.match_model` writes such a tokenizer, but folders of older versions lack it.
    """
    if not any((folder / name).is_file() for name in TOKENIZERS):
        raise FileNotFoundError(f"{folder} holds no tokenizer ({TOKENIZERS[0]}): copy that of its training there")
    config = config_of(folder)  # read first, since errors in it would otherwise be reported by the tokenizer's loader
    with quiet():
        tokenizer = tokenizer_files.load(folder)
    size = len(tokenizer)
    if size > config.vocab_size:
        raise ValueError(f"{folder}: a tokenizer of {size} tokens, a model of {config.vocab_size}: copy the right one")
    tokenizer.model_max_length = config.max_position_embeddings
    if config.type_vocab_size < 2:
        names = tokenizer.model_input_names
        tokenizer.model_input_names = [name for name in names if name != tokenizer_files.TOKEN_TYPES]
    return tokenizer


def require_tokenizer(data: Prepared, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Raises ValueError unless `data` were prepared with the tokenizer of the model in `folder`."""
    if tokenizer_files.load(data.path).get_vocab() != tokenizer.get_vocab():
        remedy = "" if isinstance(data, PairCorpus) else ": give the text itself"
        raise ValueError(f"{data.path} was prepared with another tokenizer than {folder}{remedy}")


def length(run: Path) -> int:
    """The length the run was trained or fine-tuned with; for a model without its run, the longest it reads."""
    folder = locate(run)
    return length_of(run_record(run, folder), config_of(folder))


def length_of(record: Mapping[str, Any] | None, config: LeanformerConfig) -> int:
    """The same length, from the run's record and the model's config."""
    if record is None:
        return config.max_position_embeddings
    tuned = record["settings"].get("finetuning")
    return int(tuned["max_length"] if tuned else record["settings"]["training"]["sequence_length"])


def run_record(place: str | Path, folder: Path) -> dict[str, Any] | None:
    """Returns run.json if `place` is a run, None if it is only the `folder` of a model."""
    return None if folder == Path(place) else record_of(folder)


def reach(folder: Path, max_length: int | None) -> int:
    """The most tokens of a text for the model: its own length, or `max_length` if that is less."""
    longest = config_of(folder).max_position_embeddings
    if max_length is not None and not 3 < max_length <= longest:
        raise ValueError(f"--max-length {max_length}: the model in {folder} reads 4 to {longest} tokens")
    return max_length or longest


def objective(folder: Path) -> str:
    """The pre-training objective of the model in `folder`, by its class; for a classifier it is masked_lm."""
    classes = config_of(folder).architectures or []
    return next((name for name, entry in OBJECTIVES.items() if entry.model.__name__ in classes), "masked_lm")


def load(folder: Path, kind: str) -> Any:
    """Returns the model of a pre-training objective."""
    entry = OBJECTIVES[kind]
    model, missing = load_weights(entry.model, folder, config_of(folder))
    if missing:
        raise ValueError(f"{folder} holds no {entry.noun}, {missing[0]} is missing: give a pre-training run")
    return model


def load_evaluated(folder: Path, kind: str) -> Any:
    """Returns the same model in evaluation mode, on a GPU if there is one."""
    return _ready(load(folder, kind))


def load_as_saved(folder: Path, task: Task | None = None) -> LeanformerPreTrainedModel:
    """Returns the model with the head it was saved with, in evaluation mode, on a GPU if there is one.

    An older model for multiple choice was saved as a classifier of sequences, so the `task` decides about its class.
    """
    config = config_of(folder)
    kind = CLASSIFIERS.get(task.kind if task else "") or class_of(folder, config)
    model, missing = load_weights(kind, folder, config)
    if missing:
        raise ValueError(
            f"{folder} lacks weights of its {kind.__name__}, {missing[0]} is missing: save the model again"
        )
    return _ready(model)


def load_encoder(folder: Path, config: LeanformerConfig | None = None) -> LeanformerModel:
    """Returns the encoder without head and pooler, in evaluation mode, on a GPU if there is one.

    `config` is the saved one unless it is given.
    """
    config = config or config_of(folder)
    require_encoder(folder, config)
    model, missing = load_weights(LeanformerModel, folder, config)
    if lost := [key for key in missing if not key.startswith("pooler.")]:
        raise ValueError(f"{folder} lacks weights of its encoder, {lost[0]} is missing: save the model again")
    model.pooler = None
    return _ready(model)


def require_encoder(folder: Path, config: LeanformerConfig) -> None:
    if (name := (config.architectures or ["LeanformerModel"])[0]) in DECODERS:
        raise ValueError(f"{folder} holds a {name}, which is no encoder: give one, such as a masked language model")


def device() -> torch.device:
    """A GPU if there is one."""
    found: torch.device = Accelerator(mixed_precision="no").device
    return found


def _ready(model: M) -> M:
    torch.nn.Module.to(model, device())
    return model.eval()
