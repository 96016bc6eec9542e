"""XLM-RoBERTa (Conneau et al., 2020): RoBERTa's architecture and tensor names, another tokenizer."""

from dataclasses import replace

from transformers.models.xlm_roberta.configuration_xlm_roberta import XLMRobertaConfig

from leanformer.conversion.checkpoints.families.roberta import HEADS, ROBERTA
from leanformer.conversion.checkpoints.names import classes

XLM_ROBERTA = replace(
    ROBERTA,
    model_type="xlm-roberta",
    base_model_prefix="roberta",
    config=XLMRobertaConfig,
    classes=classes("XLMRoberta", *HEADS),
    tokenizer="XLMRobertaTokenizer",
)
