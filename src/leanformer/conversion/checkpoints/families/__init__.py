"""The families that leanformer reads, a file each."""

from leanformer.conversion.checkpoints.families.bert import BERT
from leanformer.conversion.checkpoints.families.convbert import CONVBERT
from leanformer.conversion.checkpoints.families.distilbert import DISTILBERT
from leanformer.conversion.checkpoints.families.electra import ELECTRA
from leanformer.conversion.checkpoints.families.roberta import ROBERTA

FAMILIES = {family.model_type: family for family in (BERT, ROBERTA, DISTILBERT, ELECTRA, CONVBERT)}
