"""RoBERTa (Liu et al., 2019): BERT's encoder, whose positions begin behind the padding token's number.

Position p stands in row p + padding_idx + 1 of its table, so the first rows belong to no position and are cut. Padding
on the left counts as positions here and not there: give `position_ids`, or pad on the right. A classifier is
out(tanh(dense(x_0))), which is ours: a pooler and a map.
"""

from transformers.models.roberta.configuration_roberta import RobertaConfig

from leanformer.conversion.checkpoints.names import Family, classes, encoder

HEADS = ("MaskedLM", "SequenceClassification", "TokenClassification", "QuestionAnswering", "MultipleChoice")

ROBERTA = Family(
    model_type="roberta",
    config=RobertaConfig,
    classes=classes("Roberta", *HEADS),
    modules=encoder("roberta")
    | {
        "roberta.pooler.dense": "encoder.pooler.dense",
        "lm_head.dense": "head.transform",
        "lm_head.layer_norm": "head.norm",
        "lm_head": "head.decoder",
        "lm_head.decoder": "head.decoder",
        "classifier.dense": "encoder.pooler.dense",
        "classifier.out_proj": "classifier",
        "classifier": "classifier",
        "qa_outputs": "qa_outputs",
    },
    dropped={"roberta.pooler.dense": "the pooler, which this class has no use for"},
    offset=lambda config: config.pad_token_id + 1,
    head_act="gelu",
    masked_lm_module="lm_head.dense",
    tokenizer="RobertaTokenizer",
)
