"""CamemBERT (Martin et al., 2020): RoBERTa's architecture and tensor names, another tokenizer."""

from dataclasses import replace

from transformers.models.camembert.configuration_camembert import CamembertConfig

from leanformer.conversion.checkpoints.families.roberta import HEADS, ROBERTA
from leanformer.conversion.checkpoints.names import classes

CAMEMBERT = replace(
    ROBERTA,
    model_type="camembert",
    base_model_prefix="roberta",
    config=CamembertConfig,
    classes=classes("Camembert", *HEADS),
    tokenizer="CamembertTokenizer",
)
