"""DistilBERT (Sanh et al., 2019): BERT's layers under other names, without token types and pooler.

A classifier of sequences has a ReLU where BERT's pooler has a tanh, and a dropout of its own.
"""

from transformers.models.distilbert.configuration_distilbert import DistilBertConfig

from leanformer.conversion.checkpoints.names import Family, classes, encoder

LAYERS = {
    "attention.q_lin": "attention.projection.query",
    "attention.k_lin": "attention.projection.key",
    "attention.v_lin": "attention.projection.value",
    "attention.out_lin": "attention.output",
    "sa_layer_norm": "attention_norm",
    "ffn.lin1": "feed_forward.up",
    "ffn.lin2": "feed_forward.down",
    "output_layer_norm": "feed_forward_norm",
}

DISTILBERT = Family(
    model_type="distilbert",
    config=DistilBertConfig,
    classes=classes(
        "DistilBert", "MaskedLM", "SequenceClassification", "TokenClassification", "QuestionAnswering", "MultipleChoice"
    ),
    modules=encoder("distilbert", LAYERS, "transformer.layer")
    | {
        "vocab_transform": "head.transform",
        "vocab_layer_norm": "head.norm",
        "vocab_projector": "head.decoder",
        "pre_classifier": "encoder.pooler.dense",
        "classifier": "classifier",
        "qa_outputs": "qa_outputs",
    },
    settings={
        "dim": "hidden_size",
        "hidden_dim": "intermediate_size",
        "n_layers": "num_hidden_layers",
        "n_heads": "num_attention_heads",
        "activation": "hidden_act",
        "dropout": "hidden_dropout_prob",
        "attention_dropout": "attention_probs_dropout_prob",
    },
    fixed={"type_vocab_size": 0, "layer_norm_eps": 1e-12},
    classifier=lambda config: {"pooler_act": "relu", "classifier_dropout": config.seq_classif_dropout},
    only_with={},
    masked_lm_module="vocab_transform",
)
