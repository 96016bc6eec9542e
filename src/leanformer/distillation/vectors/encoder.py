"""A sentence encoder: the tokens of a text to one vector.

    vector = pool( encoder(tokens) )        pooled as `leanformer embed` does (`inference/embedding.py`)

B texts, L tokens of the longest, N texts, D width.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from leanformer.data.examples import Examples
from leanformer.evaluation import pretrained
from leanformer.evaluation.inputs.encoding import Encoded, encode
from leanformer.evaluation.similarity import Pairs, measure
from leanformer.inference.embedding import POOL, pooled
from leanformer.models import LeanformerConfig, LeanformerModel, saved
from leanformer.models.initialisation import initialise
from leanformer.settings import Settings
from leanformer.training.run.saved_model import SavedModel


class Pooled(nn.Module):
    def __init__(self, encoder: LeanformerModel, pooling: str) -> None:
        super().__init__()
        self.encoder, self.pooling = encoder, pooling

    def forward(self, attention_mask: Tensor, **inputs: Tensor) -> Tensor:
        """Returns (B, D) float32."""
        states_BLD = self.encoder(attention_mask=attention_mask, **inputs).last_hidden_state.float()
        return POOL[self.pooling](states_BLD, attention_mask)


@dataclass(frozen=True)
class SentenceEncoder:
    """An encoder with its tokenizer and the way its states are pooled."""

    model: Pooled
    tokenizer: PreTrainedTokenizerBase
    length: int
    """The most tokens of a text."""
    folder: Path
    """The folder of the saved model, of the teacher for a fresh student."""

    @classmethod
    def open(cls, place: str | Path, changes: Mapping[str, Any] | None = None) -> Self:
        """Returns the encoder of a run or saved model; `changes` are settings that its weights do not depend on."""
        folder = saved.locate(Path(place))
        tokenizer, length = pretrained.load_tokenizer(folder), pretrained.reach(folder, None)
        found = SavedModel(folder, saved.config_of(folder), saved.weights_hash(folder))
        encoder = pretrained.load_encoder(folder, found.changed(changes or {}))
        return cls(Pooled(encoder, "mean"), tokenizer, length, folder)

    @classmethod
    def fresh(cls, teacher: Self, settings: Settings) -> Self:
        """Returns a new encoder, which [model] of the settings describes, in the teacher's tokens."""
        own = {
            name: getattr(teacher.config, name) for name in ("vocab_size", "max_position_embeddings", "pad_token_id")
        }
        config = LeanformerConfig.from_settings(own | settings.model)
        config.architectures = [LeanformerModel.__name__]
        encoder = LeanformerModel(config, add_pooling_layer=False)
        initialise(encoder, settings.training.seed)
        length = min(teacher.length, config.max_position_embeddings)
        return cls(Pooled(encoder, teacher.model.pooling), teacher.tokenizer, length, teacher.folder)

    @property
    def encoder(self) -> LeanformerModel:
        return self.model.encoder

    @property
    def config(self) -> LeanformerConfig:
        return self.encoder.config

    @property
    def record(self) -> dict[str, str]:
        """Returns the path of the saved model and the sha256 of its weights."""
        return {"path": str(self.folder.resolve()), "sha256": saved.weights_hash(self.folder)}

    def encoded(self, texts: Sequence[str], length: int) -> Encoded:
        """Returns the texts as ids, cut to `length` tokens."""
        return encode(self.tokenizer, Examples([(text,) for text in texts], np.zeros(len(texts), np.int64)), length)

    def pooled(self, encoded: Encoded) -> NDArray[np.float32]:
        """Returns the vectors (N, D) without dropout; the model is left in the mode that it was in."""
        training = self.model.training
        try:
            return pooled(self.encoder.eval(), encoded, self.model.pooling)
        finally:
            self.model.train(training)

    def vectors(self, texts: Sequence[str], length: int) -> NDArray[np.float32]:
        return self.pooled(self.encoded(texts, length))

    def measure(self, pairs: Pairs, length: int) -> dict[str, float]:
        return measure(pairs, lambda texts: self.vectors(texts, length))
