"""The families that leanformer reads, a file each."""

from leanformer.conversion.families.bert import BERT
from leanformer.conversion.families.convbert import CONVBERT
from leanformer.conversion.families.distilbert import DISTILBERT
from leanformer.conversion.families.electra import ELECTRA
from leanformer.conversion.families.roberta import ROBERTA

FAMILIES = {family.model_type: family for family in (BERT, ROBERTA, DISTILBERT, ELECTRA, CONVBERT)}
