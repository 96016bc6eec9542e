"""The encoder with a head: masked language model, sequence and token classification, question answering and multiple
choice.

Shape letters: B batch, L length, N masked positions a sequence, D model width, V vocabulary, C classes or choices.
"""

from typing import Any, Self

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import (
    MaskedLMOutput,
    MultipleChoiceModelOutput,
    QuestionAnsweringModelOutput,
    SequenceClassifierOutput,
    TokenClassifierOutput,
)
from transformers.utils.generic import can_return_tuple

from leanformer.attention import Dropout, take
from leanformer.models.blocks import MaskedLMHead
from leanformer.models.config import LeanformerConfig
from leanformer.models.encoder import LeanformerModel, LeanformerPreTrainedModel
from leanformer.models.linear_cross_entropy import logits_and_loss
from leanformer.models.loss import cross_entropy, sequence_loss


class LeanformerForMaskedLM(LeanformerPreTrainedModel):
    """A model that gives scores (B, L, V) of every word at every position; with `masked_positions` (B, N) only there,
    (B, N, V)."""

    _tied_weights_keys = {"head.decoder.weight": "encoder.embeddings.word_embeddings.weight"}

    def __init__(self, config: LeanformerConfig) -> None:
        super().__init__(config)
        self.encoder = LeanformerModel(config, add_pooling_layer=False)
        self.head = MaskedLMHead(config)
        self.post_init()

    def get_output_embeddings(self) -> nn.Linear:
        return self.head.decoder

    def set_output_embeddings(self, new_embeddings: nn.Linear) -> None:
        self.head.decoder = new_embeddings

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        masked_positions: Tensor | None = None,
        num_items_in_batch: Tensor | int | None = None,
        return_logits: bool = True,
        **kwargs: Any,
    ) -> MaskedLMOutput:
        """`labels` (B, L), or (B, N) with `masked_positions`; -100 is no target. Loss: mean over targets.

        With `return_logits=False` and labels the loss is all there is, made without keeping the scores in float32.

        Most of a small model's time goes into the decoder, and 85 % of its scores are never asked for: hence N.
        """
        places = self._places(masked_positions, kwargs)
        encoded = self.encoder(
            input_ids,
            attention_mask,
            token_type_ids,
            position_ids,
            inputs_embeds,
            places=places,
            return_dict=True,
            **kwargs,
        )
        states = encoded.last_hidden_state
        if masked_positions is not None and places is None:
            states = take(states, masked_positions)
        if labels is not None and not return_logits:
            scored, logits = self.head.states(states), None
            _, loss = logits_and_loss(self.head.decoder, scored, labels, num_items_in_batch, return_logits=False)
        else:
            logits = self.head(states)
            loss = None if labels is None else cross_entropy(logits, labels, num_items_in_batch)
        return MaskedLMOutput(loss, logits, encoded.hidden_states, encoded.attentions)


class LeanformerForSequenceClassification(LeanformerPreTrainedModel):
    """A model that gives scores (B, C) of a sequence or pair, or C = `config.num_labels` = 1 predicted number, from the
    pooled state."""

    def __init__(self, config: LeanformerConfig) -> None:
        super().__init__(config)
        self.encoder = LeanformerModel(config)
        self.dropout = Dropout(_classifier_dropout(config))
        self.classifier = nn.Linear(config.hidden_size, config.num_classes())
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        num_items_in_batch: Tensor | int | None = None,
        **kwargs: Any,
    ) -> SequenceClassifierOutput:
        """`labels` (B,) or, several of them, (B, C): what they mean is said in `sequence_loss`."""
        first = self._places(_first(input_ids, inputs_embeds), kwargs)
        encoded = self.encoder(
            input_ids,
            attention_mask,
            token_type_ids,
            position_ids,
            inputs_embeds,
            places=first,
            return_dict=True,
            **kwargs,
        )
        logits = self.classifier(self.dropout(encoded.pooler_output))
        loss = None if labels is None else sequence_loss(logits, labels, self.config, num_items_in_batch)
        return SequenceClassifierOutput(loss, logits, encoded.hidden_states, encoded.attentions)


class LeanformerForTokenClassification(LeanformerPreTrainedModel):
    """A model that gives scores (B, L, C) of every token."""

    def __init__(self, config: LeanformerConfig) -> None:
        super().__init__(config)
        self.encoder = LeanformerModel(config, add_pooling_layer=False)
        self.dropout = Dropout(_classifier_dropout(config))
        self.classifier = nn.Linear(config.hidden_size, config.num_classes())
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        num_items_in_batch: Tensor | int | None = None,
        **kwargs: Any,
    ) -> TokenClassifierOutput:
        """`labels` (B, L), -100 is no target."""
        encoded = self.encoder(
            input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds, return_dict=True, **kwargs
        )
        logits = self.classifier(self.dropout(encoded.last_hidden_state))
        loss = None if labels is None else cross_entropy(logits, labels, num_items_in_batch)
        return TokenClassifierOutput(loss, logits, encoded.hidden_states, encoded.attentions)


class LeanformerForQuestionAnswering(LeanformerPreTrainedModel):
    """A model that gives scores (B, L) of every token as the first and as the last one of the answer."""

    renamed = {r"^span\.": "qa_outputs."}  # what older models call it

    def __init__(self, config: LeanformerConfig) -> None:
        super().__init__(config)
        self.encoder = LeanformerModel(config, add_pooling_layer=False)
        outputs: Any = nn.Linear(config.hidden_size, 2)
        outputs.starts_as = "span"  # a seed draws what it drew when that was its name
        self.qa_outputs = outputs
        self.post_init()

    @classmethod
    def from_pretrained(cls, *args: Any, key_mapping: dict[str, str] | None = None, **kwargs: Any) -> Self:
        return super().from_pretrained(*args, key_mapping=cls.renamed | (key_mapping or {}), **kwargs)

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        num_items_in_batch: Tensor | int | None = None,
        **kwargs: Any,
    ) -> QuestionAnsweringModelOutput:
        """Positions (B,), one beyond the sequence is no target; the loss is the mean of both ends'."""
        encoded = self.encoder(
            input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds, return_dict=True, **kwargs
        )
        start_logits, end_logits = self.qa_outputs(encoded.last_hidden_state).unbind(-1)
        loss = None
        if start_positions is not None and end_positions is not None:
            beyond = start_logits.shape[1]
            start = cross_entropy(start_logits, start_positions.clamp(0, beyond), num_items_in_batch, ignored=beyond)
            end = cross_entropy(end_logits, end_positions.clamp(0, beyond), num_items_in_batch, ignored=beyond)
            loss = (start + end) / 2
        return QuestionAnsweringModelOutput(loss, start_logits, end_logits, encoded.hidden_states, encoded.attentions)


class LeanformerForMultipleChoice(LeanformerPreTrainedModel):
    """A model that gives scores (B, C) of the choices of each example, from the pooled state of every text with its
    choice."""

    def __init__(self, config: LeanformerConfig) -> None:
        super().__init__(config)
        self.encoder = LeanformerModel(config)
        self.dropout = Dropout(_classifier_dropout(config))
        self.classifier = nn.Linear(config.hidden_size, 1)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        num_items_in_batch: Tensor | int | None = None,
        **kwargs: Any,
    ) -> MultipleChoiceModelOutput:
        """Inputs are (B, C, L), `inputs_embeds` (B, C, L, D): a sequence for each choice. `labels` (B,) name the right
        one. Hidden states and attentions are those of B C sequences."""
        inputs = (input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds)
        choices = next((x.shape[1] for x in (input_ids, inputs_embeds) if x is not None), 1)
        sequences = [None if x is None else x.flatten(0, 1) for x in inputs]
        first = self._places(_first(sequences[0], sequences[-1]), kwargs)
        encoded = self.encoder(*sequences, places=first, return_dict=True, **kwargs)
        logits = self.classifier(self.dropout(encoded.pooler_output)).view(-1, choices)
        loss = None if labels is None else cross_entropy(logits, labels, num_items_in_batch)
        return MultipleChoiceModelOutput(loss, logits, encoded.hidden_states, encoded.attentions)


def _first(input_ids: Tensor | None, inputs_embeds: Tensor | None) -> Tensor | None:
    """The place of the first token of every sequence, (B, 1): all that a pooler reads."""
    given = input_ids if inputs_embeds is None else inputs_embeds
    return None if given is None else torch.zeros(given.shape[0], 1, dtype=torch.long, device=given.device)


def _classifier_dropout(config: LeanformerConfig) -> float:
    return config.hidden_dropout_prob if config.classifier_dropout is None else config.classifier_dropout
