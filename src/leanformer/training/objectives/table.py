"""What goes with each `training.objective`: the data it reads, the model it trains, and what that model must know."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leanformer.data.corpus import Corpus, Prepared
from leanformer.data.pairs import PairCorpus
from leanformer.models import (
    LeanformerConfig,
    LeanformerForCausalLM,
    LeanformerForConditionalGeneration,
    LeanformerForMaskedLM,
    LeanformerPreTrainedModel,
)
from leanformer.settings import Settings, TrainingSettings
from leanformer.training.objectives.causal_lm import CausalLM
from leanformer.training.objectives.masked_lm import MaskedLM
from leanformer.training.objectives.protocol import PretrainingObjective
from leanformer.training.objectives.seq2seq import Seq2Seq
from leanformer.training.optimizers.parameter_groups import require_groups
from leanformer.training.run.saved_model import SavedModel


@dataclass(frozen=True)
class ObjectiveKind:
    noun: str
    open: Callable[[str | Path], Any]
    """A data directory of the kind that the objective reads; ValueError if it is of another."""
    objective: Callable[[Any, TrainingSettings, int], PretrainingObjective]
    model: type[LeanformerPreTrainedModel]
    config: Callable[[Prepared], dict[str, Any]]
    """[model], unless the settings say otherwise."""


def _writer(data: Prepared) -> dict[str, Any]:
    """A text begins with [CLS] and ends with [SEP]; there are no second texts to tell apart."""
    return {"bos_token_id": data.cls_id, "eos_token_id": data.sep_id, "type_vocab_size": 0}


def _answerer(data: Prepared) -> dict[str, Any]:
    return _writer(data) | {"decoder_start_token_id": data.cls_id, "is_encoder_decoder": True}


OBJECTIVES = {
    "masked_lm": ObjectiveKind("masked language model", Corpus.open, MaskedLM, LeanformerForMaskedLM, lambda data: {}),
    "causal_lm": ObjectiveKind("causal language model", Corpus.open, CausalLM, LeanformerForCausalLM, _writer),
    "seq2seq": ObjectiveKind(
        "encoder-decoder model", PairCorpus.open, Seq2Seq, LeanformerForConditionalGeneration, _answerer
    ),
}
"""The names are also those of the heads in `models/cost.py`."""


def model_config(settings: Settings, data: Prepared, start: SavedModel | None = None) -> LeanformerConfig:
    """[model] of the settings; the vocabulary is the data's, the length BERT's 512 or the sequences'.

    With a model to start from it is that one's, of which [model] may change what `SavedModel.changed` says.
    """
    length = settings.training.sequence_length
    if start is not None:
        config = start.changed(settings.model)
        require_length(config, length)
        require_groups(settings.training, config)
        return config
    own = {"vocab_size": data.vocab_size, "max_position_embeddings": max(512, length), "pad_token_id": data.pad_id}
    own |= OBJECTIVES[settings.training.objective].config(data)
    config = LeanformerConfig.from_settings(own | settings.model)
    if config.vocab_size < data.vocab_size:
        raise ValueError(
            f"model.vocab_size = {config.vocab_size}: {data.path} has {data.vocab_size} tokens; leave it out"
        )
    require_length(config, length, ", or raise model.max_position_embeddings")
    require_groups(settings.training, config)
    return config


def require_length(config: LeanformerConfig, length: int, remedy: str = " to at most max_position_embeddings") -> None:
    longest = config.max_position_embeddings
    if longest < length:
        raise ValueError(f"training.sequence_length = {length} is longer than the model: lower it{remedy} = {longest}")
