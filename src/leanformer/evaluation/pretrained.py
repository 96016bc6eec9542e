"""A pre-trained model from a run directory (RUN/model) or from any folder that save_pretrained wrote."""

from pathlib import Path
from typing import Any

from accelerate import Accelerator
from transformers import PreTrainedTokenizerBase

from leanformer.data import tokenizer_files
from leanformer.data.corpus import Prepared
from leanformer.data.pairs import PairCorpus
from leanformer.data.tasks import Task
from leanformer.models import (
    LeanformerConfig,
    LeanformerForMaskedLM,
    LeanformerForMultipleChoice,
    LeanformerForQuestionAnswering,
    LeanformerForSequenceClassification,
    LeanformerModel,
    LeanformerPreTrainedModel,
)
from leanformer.models.initialisation import initialise
from leanformer.training.objectives.table import OBJECTIVES
from leanformer.training.run.record import RunDirectory
from leanformer.training.run.saved_model import class_of, config_of, load_weights, locate, quiet

HEADS = ("classifier.", "qa_outputs.")
NEW = ("encoder.pooler.", *HEADS)
"""Where a classifier starts that a masked language model does not have."""
DECODERS = ("LeanformerDecoder", "LeanformerForCausalLM", "LeanformerForConditionalGeneration")
TOKENIZERS = (tokenizer_files.FILE, tokenizer_files.CONFIG)
"""Either will do."""
PROBLEMS: dict[str, Any] = {"classification": "single_label_classification", "regression": "regression"}
"""What transformers calls our kinds of task, as far as it has a word."""
CLASSIFIERS: dict[str, type[LeanformerPreTrainedModel]] = {
    "span": LeanformerForQuestionAnswering,
    "multiple_choice": LeanformerForMultipleChoice,
}
"""Which classes answer a kind of task, else that of sequences."""


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer that lies with the model; it tells the texts of a pair apart if the model can, and truncates to
    what the model reads: `tokenizer_files.fit` has seen to that, but not in a folder of an older version."""
    if not any((folder / name).is_file() for name in TOKENIZERS):
        raise FileNotFoundError(f"{folder} holds no tokenizer ({TOKENIZERS[0]}): copy that of its training there")
    config = config_of(folder)  # first: the tokenizer's loader reads it too, and would be blamed for its faults
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
    """ValueError unless `data` were prepared with the tokenizer of the model in `folder`."""
    if tokenizer_files.load(data.path).get_vocab() != tokenizer.get_vocab():
        remedy = "" if isinstance(data, PairCorpus) else ": give the text itself"
        raise ValueError(f"{data.path} was prepared with another tokenizer than {folder}{remedy}")


def length(run: Path) -> int:
    """The length the run was trained or fine-tuned with; of a model without its run, the longest it reads."""
    directory, folder = RunDirectory(run), locate(run)
    if directory.record.is_file() and directory.model == folder:
        settings = directory.read()["settings"]
        tuned = settings.get("finetuning")
        return int(tuned["max_length"] if tuned else settings["training"]["sequence_length"])
    return config_of(folder).max_position_embeddings


def reach(folder: Path, max_length: int | None) -> int:
    """How many tokens of a text the model is given: all that it reads, or fewer if it is told so."""
    longest = config_of(folder).max_position_embeddings
    if max_length is not None and not 3 < max_length <= longest:
        raise ValueError(f"--max-length {max_length}: the model in {folder} reads 4 to {longest} tokens")
    return max_length or longest


def objective(folder: Path) -> str:
    """What the model in `folder` was trained for, by its class; a classifier began as a masked language model."""
    classes = config_of(folder).architectures or []
    return next((name for name, entry in OBJECTIVES.items() if entry.model.__name__ in classes), "masked_lm")


def load(folder: Path, kind: str) -> Any:
    """The model of a pre-training objective."""
    entry = OBJECTIVES[kind]
    model, missing = load_weights(entry.model, folder, config_of(folder))
    if missing:
        raise ValueError(f"{folder} holds no {entry.noun}, {missing[0]} is missing: give a pre-training run")
    return model


def load_evaluated(folder: Path, kind: str) -> Any:
    """The same to be asked, on a GPU if there is one."""
    return load(folder, kind).to(Accelerator(mixed_precision="no").device).eval()


def load_as_saved(folder: Path, task: Task | None = None) -> LeanformerPreTrainedModel:
    """The model with the very head it was saved with, to be asked, on a GPU if there is one.

    Its class may be older than that of multiple choice, which was a classifier of sequences then: the `task` decides.
    """
    config = config_of(folder)
    kind = CLASSIFIERS.get(task.kind if task else "") or class_of(folder, config)
    model, missing = load_weights(kind, folder, config)
    if missing:
        raise ValueError(
            f"{folder} lacks weights of its {kind.__name__}, {missing[0]} is missing: save the model again"
        )
    return model.to(Accelerator(mixed_precision="no").device).eval()


def load_encoder(folder: Path) -> LeanformerModel:
    """The encoder under whatever head, without a pooler, to be asked, on a GPU if there is one."""
    config = config_of(folder)
    _require_encoder(folder, config)
    model, missing = load_weights(LeanformerModel, folder, config)
    if lost := [key for key in missing if not key.startswith("pooler.")]:
        raise ValueError(f"{folder} lacks weights of its encoder, {lost[0]} is missing: save the model again")
    model.pooler = None
    return model.to(Accelerator(mixed_precision="no").device).eval()


def _require_encoder(folder: Path, config: LeanformerConfig) -> None:
    if (name := (config.architectures or ["LeanformerModel"])[0]) in DECODERS:
        raise ValueError(f"{folder} holds a {name}, which is no encoder: give one, such as a masked language model")


def load_masked_lm(folder: Path) -> LeanformerForMaskedLM:
    return load(folder, "masked_lm")


def load_classifier(folder: Path, task: Task, seed: int) -> LeanformerPreTrainedModel:
    """The pre-trained encoder under a new head, whose values (the pooler's too if it is new) depend on `seed` only."""
    config = config_of(folder)
    _require_encoder(folder, config)
    names = {"classification": task.labels, "span": ("start", "end")}.get(task.kind, ("score",))
    config.id2label = dict(enumerate(names))
    config.label2id = {name: i for i, name in enumerate(names)}
    config.problem_type = PROBLEMS.get(task.kind)
    kind = CLASSIFIERS.get(task.kind, LeanformerForSequenceClassification)
    model, missing = load_weights(kind, folder, config, new=NEW)
    if lost := [key for key in missing if not key.startswith(NEW)]:
        raise ValueError(f"{folder} lacks weights of its encoder, {lost[0]} is missing: save the model again")
    for module in NEW:
        if module in HEADS or any(key.startswith(module) for key in missing):
            initialise(model, seed, only=module.removesuffix("."))
    return model
