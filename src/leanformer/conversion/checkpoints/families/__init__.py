"""The families that leanformer reads, a file each, and those that it refuses with a reason."""

from leanformer.conversion.checkpoints.families.albert import ALBERT
from leanformer.conversion.checkpoints.families.bert import BERT
from leanformer.conversion.checkpoints.families.camembert import CAMEMBERT
from leanformer.conversion.checkpoints.families.convbert import CONVBERT
from leanformer.conversion.checkpoints.families.deberta import DEBERTA
from leanformer.conversion.checkpoints.families.distilbert import DISTILBERT
from leanformer.conversion.checkpoints.families.electra import ELECTRA
from leanformer.conversion.checkpoints.families.modernbert import MODERNBERT
from leanformer.conversion.checkpoints.families.mpnet import MPNET
from leanformer.conversion.checkpoints.families.roberta import ROBERTA
from leanformer.conversion.checkpoints.families.xlm_roberta import XLM_ROBERTA

FAMILIES = {
    family.model_type: family
    for family in (
        *(BERT, ROBERTA, XLM_ROBERTA, CAMEMBERT, DISTILBERT, ELECTRA),
        *(CONVBERT, ALBERT, MPNET, MODERNBERT),
    )
}
REFUSED = {"deberta": DEBERTA, "deberta-v2": DEBERTA}
"""Why a `model_type` does not convert, and what to do."""
