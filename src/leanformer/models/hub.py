"""Makes Hugging Face's Auto classes, pipelines and PEFT know leanformer; `leanformer` calls `register`."""

from transformers.models.auto import configuration_auto, modeling_auto

from leanformer.models import heads, lora
from leanformer.models.config import LeanformerConfig
from leanformer.models.decoder import LeanformerForCausalLM
from leanformer.models.encoder import LeanformerModel
from leanformer.models.seq2seq import LeanformerForConditionalGeneration

CLASSES = (
    (
        modeling_auto.AutoModelForTextEncoding,
        modeling_auto.MODEL_FOR_TEXT_ENCODING_MAPPING_NAMES,
        LeanformerModel,
    ),
    (modeling_auto.AutoModel, modeling_auto.MODEL_MAPPING_NAMES, LeanformerModel),
    (
        modeling_auto.AutoModelForPreTraining,
        modeling_auto.MODEL_FOR_PRETRAINING_MAPPING_NAMES,
        heads.LeanformerForMaskedLM,
    ),
    (
        modeling_auto.AutoModelForCausalLM,
        modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        LeanformerForCausalLM,
    ),
    (
        modeling_auto.AutoModelForSeq2SeqLM,
        modeling_auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
        LeanformerForConditionalGeneration,
    ),
    (
        modeling_auto.AutoModelForMaskedLM,
        modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES,
        heads.LeanformerForMaskedLM,
    ),
    (
        modeling_auto.AutoModelForSequenceClassification,
        modeling_auto.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES,
        heads.LeanformerForSequenceClassification,
    ),
    (
        modeling_auto.AutoModelForTokenClassification,
        modeling_auto.MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING_NAMES,
        heads.LeanformerForTokenClassification,
    ),
    (
        modeling_auto.AutoModelForQuestionAnswering,
        modeling_auto.MODEL_FOR_QUESTION_ANSWERING_MAPPING_NAMES,
        heads.LeanformerForQuestionAnswering,
    ),
    (
        modeling_auto.AutoModelForMultipleChoice,
        modeling_auto.MODEL_FOR_MULTIPLE_CHOICE_MAPPING_NAMES,
        heads.LeanformerForMultipleChoice,
    ),
)
"""An Auto class, the table of names in which pipelines look up what a task supports, and the class for both.

All that BERT has but AutoModelForNextSentencePrediction: no objective here trains such a head."""


def register() -> None:
    configuration_auto.AutoConfig.register(LeanformerConfig.model_type, LeanformerConfig, exist_ok=True)
    for auto_class, names, model_class in CLASSES:
        auto_class.register(LeanformerConfig, model_class, exist_ok=True)
        names[LeanformerConfig.model_type] = model_class.__name__
    lora.declare()
