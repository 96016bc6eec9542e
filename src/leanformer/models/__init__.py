"""BERT-like models with an attention slot, as Hugging Face transformers expects models to be."""

from leanformer.models.config import LeanformerConfig
from leanformer.models.encoder import LeanformerModel, LeanformerPreTrainedModel
from leanformer.models.heads import (
    LeanformerForMaskedLM,
    LeanformerForQuestionAnswering,
    LeanformerForSequenceClassification,
    LeanformerForTokenClassification,
)

__all__ = [
    "LeanformerConfig",
    "LeanformerForMaskedLM",
    "LeanformerForQuestionAnswering",
    "LeanformerForSequenceClassification",
    "LeanformerForTokenClassification",
    "LeanformerModel",
    "LeanformerPreTrainedModel",
]
