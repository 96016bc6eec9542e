"""BERT (Devlin et al., 2019): the one whose architecture leanformer has, and goes back to."""

from transformers.models.bert.configuration_bert import BertConfig

from leanformer.conversion.checkpoints.names import Family, classes, encoder

BERT = Family(
    model_type="bert",
    config=BertConfig,
    classes=classes(
        "Bert", "MaskedLM", "SequenceClassification", "TokenClassification", "QuestionAnswering", "MultipleChoice"
    ),
    aliases={"BertForPreTraining": "BertForMaskedLM"},
    modules=encoder("bert")
    | {
        "bert.pooler.dense": "encoder.pooler.dense",
        "cls.predictions.transform.dense": "head.transform",
        "cls.predictions.transform.LayerNorm": "head.norm",
        "cls.predictions": "head.decoder",  # BERT holds the decoder's bias twice
        "cls.predictions.decoder": "head.decoder",
        "classifier": "classifier",
        "qa_outputs": "qa_outputs",
    },
    dropped={
        "bert.pooler.dense": "the pooler, which this class has no use for",
        "cls.seq_relationship": "the next-sentence head",
    },
    only_with={"is_decoder": False, "add_cross_attention": False, "position_embedding_type": "absolute"},
    masked_lm_module="cls.predictions.transform.dense",
)
