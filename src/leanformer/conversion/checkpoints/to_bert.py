"""Back to Hugging Face's BERT, where a leanformer model is one."""

from pathlib import Path

from torch import Tensor
from transformers.models.bert.configuration_bert import BertConfig

from leanformer.conversion.checkpoints.families import FAMILIES
from leanformer.conversion.checkpoints.names import in_common
from leanformer.conversion.checkpoints.placing import Checkpoint, Renamed, prefixed, settled
from leanformer.models.bert_differences import bert_differences
from leanformer.models.config import LeanformerConfig
from leanformer.spelling import suggest

BERT = FAMILIES["bert"]


def to_bert(found: Checkpoint, source: Path) -> tuple[BertConfig, dict[str, Tensor], list[str]]:
    """BERT's config and tensors, and notes; ValueError for a model that BERT cannot express, by the setting's name."""
    config = found.config
    if found.family != LeanformerConfig.model_type:
        raise ValueError(f"{source / 'config.json'}: model_type is {found.family!r}, expected 'leanformer'")
    for key, (value, only) in bert_differences(config).items():
        raise ValueError(f"{source}: BERT cannot express {key} = {value!r}, only {only!r}: use it as leanformer")
    theirs = {ours: berts for berts, ours in BERT.classes.items()}
    kind = (config.architectures or [""])[0]
    if kind not in theirs:
        raise ValueError(f"{source / 'config.json'}: no counterpart of {kind}; {suggest(kind, theirs)}")
    bert = BertConfig(**in_common(config, BertConfig, {}))
    tensors = prefixed(found.tensors, "encoder.")
    types = "encoder.embeddings.token_type_embeddings.weight"
    if not config.type_vocab_size:  # BERT cannot do without: a type of zeros is none
        bert.type_vocab_size = 1
        tensors[types] = tensors["encoder.embeddings.word_embeddings.weight"].new_zeros(1, config.hidden_size)
    bert.architectures = [theirs[kind]]
    renamed: Renamed = [(key, BERT.from_leanformer(key), tensor) for key, tensor in tensors.items()]
    if "head.decoder.bias" in tensors:  # BERT holds it twice
        renamed.append(("head.decoder.bias", "cls.predictions.bias", tensors["head.decoder.bias"].clone()))
    placed, notes, _ = settled(renamed, bert, source, BERT.dropped)
    return bert, placed, found.notes + notes
