"""BERT-like models with an attention slot, as Hugging Face transformers expects models to be."""

import leanformer.models.mixing_only
import leanformer.models.simplified_blocks  # noqa: F401  block types register themselves
from leanformer.models.config import LeanformerConfig
from leanformer.models.decoder import LeanformerDecoder, LeanformerForCausalLM
from leanformer.models.encoder import LeanformerModel, LeanformerPreTrainedModel
from leanformer.models.heads import (
    LeanformerForMaskedLM,
    LeanformerForMultipleChoice,
    LeanformerForQuestionAnswering,
    LeanformerForSequenceClassification,
    LeanformerForTokenClassification,
)
from leanformer.models.seq2seq import LeanformerForConditionalGeneration

__all__ = [
    "LeanformerConfig",
    "LeanformerDecoder",
    "LeanformerForCausalLM",
    "LeanformerForConditionalGeneration",
    "LeanformerForMaskedLM",
    "LeanformerForMultipleChoice",
    "LeanformerForQuestionAnswering",
    "LeanformerForSequenceClassification",
    "LeanformerForTokenClassification",
    "LeanformerModel",
    "LeanformerPreTrainedModel",
]
