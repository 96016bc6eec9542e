"""What leanformer's modules are called in Hugging Face's BERT: the tables of `leanformer convert`, read either way."""

import re

CLASSES = {
    "BertModel": "LeanformerModel",
    "BertForMaskedLM": "LeanformerForMaskedLM",
    "BertForSequenceClassification": "LeanformerForSequenceClassification",
    "BertForTokenClassification": "LeanformerForTokenClassification",
    "BertForQuestionAnswering": "LeanformerForQuestionAnswering",
}

ALIASES = {"BertForPreTraining": "BertForMaskedLM"}
"""Read as another class, without the head that only this one has."""

MODULES = {
    "bert.embeddings.word_embeddings": "encoder.embeddings.word_embeddings",
    "bert.embeddings.position_embeddings": "encoder.embeddings.position_embeddings",
    "bert.embeddings.token_type_embeddings": "encoder.embeddings.token_type_embeddings",
    "bert.embeddings.LayerNorm": "encoder.embeddings.norm",
    "bert.encoder.layer.#.attention.self.query": "encoder.layers.#.attention.projection.query",
    "bert.encoder.layer.#.attention.self.key": "encoder.layers.#.attention.projection.key",
    "bert.encoder.layer.#.attention.self.value": "encoder.layers.#.attention.projection.value",
    "bert.encoder.layer.#.attention.output.dense": "encoder.layers.#.attention.output",
    "bert.encoder.layer.#.attention.output.LayerNorm": "encoder.layers.#.attention_norm",
    "bert.encoder.layer.#.intermediate.dense": "encoder.layers.#.feed_forward.up",
    "bert.encoder.layer.#.output.dense": "encoder.layers.#.feed_forward.down",
    "bert.encoder.layer.#.output.LayerNorm": "encoder.layers.#.feed_forward_norm",
    "bert.pooler.dense": "encoder.pooler.dense",
    "cls.predictions.transform.dense": "head.transform",
    "cls.predictions.transform.LayerNorm": "head.norm",
    "cls.predictions.decoder": "head.decoder",
    "classifier": "classifier",
    "qa_outputs": "span",
}
"""BERT's module: leanformer's, where # is the number of a layer."""

DROPPED = {
    "bert.pooler.dense": "the pooler, which this class has no use for",
    "cls.seq_relationship": "the next-sentence head",
}
"""Modules of BERT that a leanformer class may have no place for."""

LEGACY = {"gamma": "weight", "beta": "bias"}
"""The parameters of norms in checkpoints that were TensorFlow's once."""


def to_leanformer(key: str) -> str | None:
    """bert.pooler.dense.bias -> encoder.pooler.dense.bias; None if the table lacks the module."""
    module, _, leaf = key.rpartition(".")
    return _renamed(f"{module}.{LEGACY.get(leaf, leaf)}", MODULES | {"cls.predictions": "head.decoder"})


def to_bert(key: str) -> str | None:
    return _renamed(key, {ours: berts for berts, ours in MODULES.items()})


def _renamed(key: str, table: dict[str, str]) -> str | None:
    module, _, leaf = key.rpartition(".")
    layer = re.search(r"\.(\d+)\.", module)
    new = table.get(module.replace(layer[0], ".#.", 1) if layer else module)
    return None if new is None else f"{new.replace('#', layer[1]) if layer else new}.{leaf}"
