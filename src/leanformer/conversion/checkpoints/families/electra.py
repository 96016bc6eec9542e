"""ELECTRA (Clark et al., 2020), discriminators and generators: BERT's layers behind embeddings that may be narrower.

A discriminator was trained to tell replaced tokens, by a head that only it has: its encoder alone is read. A classifier
of sequences has a GELU where BERT's pooler has a tanh.
"""

from transformers.models.electra.configuration_electra import ElectraConfig

from leanformer.conversion.checkpoints.names import Family, classes, encoder

ELECTRA = Family(
    model_type="electra",
    config=ElectraConfig,
    classes=classes("Electra", "MaskedLM", "SequenceClassification", "TokenClassification", "QuestionAnswering"),
    aliases={"ElectraForPreTraining": "ElectraModel"},
    modules=encoder("electra")
    | {
        "electra.embeddings_project": "encoder.embeddings.projection",
        "generator_predictions.dense": "head.transform",
        "generator_predictions.LayerNorm": "head.norm",
        "generator_lm_head": "head.decoder",
        "classifier.dense": "encoder.pooler.dense",
        "classifier.out_proj": "classifier",
        "classifier": "classifier",
        "qa_outputs": "qa_outputs",
    },
    dropped={
        "discriminator_predictions.dense": "the head that tells replaced tokens",
        "discriminator_predictions.dense_prediction": "the head that tells replaced tokens",
    },
    classifier=lambda config: {"pooler_act": "gelu"},
    head_act="gelu",
    masked_lm_module="generator_predictions.dense",
)
