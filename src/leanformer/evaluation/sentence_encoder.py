"""A sentence encoder: the tokens of a text to one vector.

    vector = pool( encoder(tokens) )

A model with the parts of sentence-transformers is used as these say: prompt, length, pooling, and what follows it. Any
other gives the mean of its last states, unless another pooling is asked for: a model that was only pre-trained has no
use for its [CLS] state, and `mean` is the better start (Reimers and Gurevych, 2019, table 6).

B texts, L tokens of the longest, N texts, D model width, E width of the vectors.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from leanformer.data.buckets import budget_on, inference_batches
from leanformer.data.examples import Examples
from leanformer.evaluation import pretrained
from leanformer.evaluation.inputs.encoding import Encoded, encode
from leanformer.evaluation.sentence_reading import default_prompt, follow_parts, prompt_length
from leanformer.models import LeanformerConfig, LeanformerModel, saved
from leanformer.models.sentence_parts import SentenceParts, sentence_parts
from leanformer.models.sentence_pooling import POOL, SentencePooling, sentence_pooling
from leanformer.spelling import suggest
from leanformer.training.run.saved_model import SavedModel


class Pooled(nn.Module):
    """An encoder and what makes one vector of its states; `prompt_length` tokens at the beginning are of a prompt."""

    def __init__(self, encoder: LeanformerModel, pool: SentencePooling, prompt_length: int = 0) -> None:
        super().__init__()
        self.encoder, self.pool, self.prompt_length = encoder, pool.to(encoder.device), prompt_length

    @property
    def first_alone(self) -> bool:
        """Whether the vector is made of the first state alone."""
        return self.pool.modes == ("cls",) and (self.pool.include_prompt or not self.prompt_length)

    def forward(self, attention_mask: Tensor, **inputs: Tensor) -> Tensor:
        """Returns (B, E) float32."""
        first = torch.zeros_like(attention_mask[:, :1]) if self.first_alone else None
        states_BLD = self.encoder(attention_mask=attention_mask, places=first, **inputs).last_hidden_state.float()
        vectors_BE: Tensor = self.pool(states_BLD, attention_mask, self.prompt_length)
        return vectors_BE


@dataclass(frozen=True)
class SentenceEncoder:
    model: Pooled
    tokenizer: PreTrainedTokenizerBase
    length: int
    """The most tokens of a text."""
    folder: Path
    """The folder of the saved model."""
    parts: SentenceParts | None = None
    prompt: str = ""
    """The text before every text."""

    @classmethod
    def open(
        cls,
        place: str | Path,
        *,
        pooling: str | None = None,
        prompt: str | None = None,
        max_length: int | None = None,
        changes: Mapping[str, Any] | None = None,
        load: Callable[[Path, LeanformerConfig | None], Any] = pretrained.load_encoder,
    ) -> Self:
        """Returns the encoder of a run or saved model.

        `pooling` (of `POOL`) stands for the model's own pooling and what follows it; `prompt` is the name of a prompt
        of the model, by default its default prompt. A text is cut to `max_length` tokens, else to what the model or its
        parts read. `changes` are settings that the weights do not depend on; `load` returns the folder's encoder.
        """
        if pooling is not None and pooling not in POOL:
            raise ValueError(f"--pooling {pooling}: {suggest(pooling, POOL)}")
        folder = saved.locate(Path(place))
        parts = sentence_parts(folder)
        start = _prompt(folder, parts, prompt)
        if pooling or parts is None:
            pool = SentencePooling((pooling or "mean",))
        else:
            pool = sentence_pooling(parts, saved.config_of(folder).hidden_size)
        tokenizer, length = pretrained.load_tokenizer(folder), pretrained.reach(folder, max_length)
        if parts is not None:
            length = max_length or parts.max_length(length)
            follow_parts(parts, tokenizer)
        config = None
        if changes:
            config = SavedModel(folder, saved.config_of(folder), saved.weights_hash(folder)).changed(changes)
        encoder = load(folder, config)
        before = prompt_length(tokenizer, start, length)
        return cls(Pooled(encoder, pool, before), tokenizer, length, folder, parts, start)

    @property
    def encoder(self) -> LeanformerModel:
        return self.model.encoder

    @property
    def config(self) -> LeanformerConfig:
        return self.encoder.config

    @property
    def width(self) -> int:
        """Returns E, the number of components of a vector."""
        states_11D = torch.zeros(1, 1, self.config.hidden_size, device=self.encoder.device)
        return int(self.model.pool(states_11D, torch.ones_like(states_11D[..., 0])).shape[-1])

    @property
    def record(self) -> dict[str, str]:
        """Returns the path of the saved model and the sha256 of its weights."""
        return {"path": str(self.folder.resolve()), "sha256": saved.weights_hash(self.folder)}

    def encoded(self, texts: Sequence[str], length: int | None = None) -> Encoded:
        """Returns the texts behind the prompt as ids, cut to `length` tokens."""
        length = length or self.length
        if length <= self.tokenizer.num_special_tokens_to_add() + self.model.prompt_length:
            raise ValueError(
                f"a text of {length} tokens has no room beside its special tokens and the prompt: allow more"
            )
        examples = Examples([(self.prompt + text,) for text in texts], np.zeros(len(texts), np.int64))
        return encode(self.tokenizer, examples, length)

    def vectors(self, texts: Sequence[str], length: int | None = None) -> NDArray[np.float32]:
        return self.pooled(self.encoded(texts, length))

    @torch.inference_mode()
    def pooled(self, encoded: Encoded) -> NDArray[np.float32]:
        """Returns (N, E) in the order of the texts, without dropout; the model is left in the mode that it was in.

        Raises ArithmeticError for NaN or infinity.
        """
        batches, vectors = inference_batches(encoded.lengths, budget_on(self.encoder.device.type)), []
        training, device = self.model.training, self.encoder.device
        self.model.eval()
        try:
            for rows in batches:
                inputs = {name: tensor.to(device) for name, tensor in encoded.inputs(rows).items()}
                vectors.append(self.model(**inputs).cpu().numpy())
        finally:
            self.model.train(training)
        by_length = np.concatenate(vectors)
        if not np.isfinite(by_length).all():
            raise ArithmeticError("the model answers with numbers that are not finite: its training has failed")
        found = np.empty_like(by_length)
        found[np.concatenate(batches)] = by_length
        return found


def _prompt(folder: Path, parts: SentenceParts | None, name: str | None) -> str:
    """Returns the text before every text."""
    known = {} if parts is None else parts.prompts
    if name and name not in known:
        raise ValueError(f"--prompt {name}: the model in {folder} has no such prompt; {suggest(name, known)}")
    return known[name] if name else default_prompt(parts)
