"""What turns names into vectors: an encoder of leanformer's, the residual CNN, or weighted character trigrams.

    tfidf           trigrams of characters within words, TF-IDF, of unit length: nothing is learned but the weights
    rescnn          `residual_cnn.py` on word pieces of the dictionary, whose embeddings are learned
    rescnn:MODEL    the same on the word pieces of a run or saved model, whose embeddings are frozen, as in the paper
    MODEL           a run or saved model, its states pooled as `leanformer embed` does, all of it trained

N texts, D width, L length.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from sklearn.feature_extraction.text import TfidfVectorizer
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from leanformer.data import tokenizer, tokenizer_files
from leanformer.data.buckets import budget_on, inference_batches
from leanformer.data.examples import Examples
from leanformer.evaluation import pretrained
from leanformer.evaluation.inputs.encoding import Encoded
from leanformer.evaluation.sentence_encoder import Pooled
from leanformer.linking.residual_cnn import ResidualCNN
from leanformer.linking.search import Vectors
from leanformer.linking.settings import LinkingSettings
from leanformer.models import LeanformerModel, saved
from leanformer.models.sentence_pooling import Normalize, SentencePooling
from leanformer.spelling import suggest

TFIDF, RESCNN = "tfidf", "rescnn"


class Encoder(Protocol):
    @property
    def size(self) -> dict[str, int]:
        """Returns the number of `parameters`, and of those `without_embeddings`."""

    def vectors(self, texts: Sequence[str]) -> Vectors:
        """(N, D), of unit length, or zero where a text has nothing that is known."""


@dataclass(frozen=True)
class Spec:
    """An encoder as it is asked for."""

    name: str
    """In the report, and of its folder."""
    kind: str
    source: Path | None = None
    """The folder of the model it starts from."""

    @property
    def hash(self) -> str | None:
        return None if self.source is None else saved.weights_hash(self.source)


def specs(asked: Sequence[str]) -> list[Spec]:
    """Raises ValueError or FileNotFoundError for what is neither a kind nor a model, and for one asked twice."""
    if not asked:
        raise ValueError(f"no encoder is named: give {TFIDF}, {RESCNN}, {RESCNN}:MODEL or a run or saved model")
    found: list[Spec] = []
    for text in asked:
        spec = _spec(text)
        if any((spec.kind, spec.source) == (other.kind, other.source) for other in found):
            raise ValueError(f"encoder {text} is given twice: leave one out")
        number = sum(other.name.partition("@")[0] == spec.name for other in found)
        found.append(spec if not number else Spec(f"{spec.name}@{number + 1}", spec.kind, spec.source))
    return found


def _spec(text: str) -> Spec:
    if text in (TFIDF, RESCNN):
        return Spec(text, text)
    is_cnn = text.startswith(f"{RESCNN}:")
    place = Path(text.removeprefix(f"{RESCNN}:"))
    if not is_cnn and not place.exists():
        raise FileNotFoundError(
            f"{text} is neither a run nor a saved model nor a kind of encoder: {suggest(text, [TFIDF, RESCNN])}"
        )
    source = saved.locate(place)
    name = saved.name_of(place)
    return Spec(f"{RESCNN}-{name}", RESCNN, source) if is_cnn else Spec(name, "transformer", source)


class Trigrams:
    """The vectors of character trigrams. Words are taken one by one, a space at either end, so that their order does
    not matter."""

    def __init__(self, names: Sequence[str]) -> None:
        self.vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 3), dtype=np.float32).fit(names)

    @property
    def size(self) -> dict[str, int]:
        return {"parameters": len(self.vectorizer.idf_), "without_embeddings": len(self.vectorizer.idf_)}

    def vectors(self, texts: Sequence[str]) -> csr_array:
        return csr_array(self.vectorizer.transform(texts))


class Neural:
    def __init__(
        self, model: nn.Module, words: PreTrainedTokenizerBase, max_length: int, device: torch.device, *, special: bool
    ) -> None:
        """`special`: whether [CLS] and [SEP] are put around a name."""
        self.model, self.words, self.max_length, self.special = model.to(device), words, max_length, special
        self.device = device

    @property
    def size(self) -> dict[str, int]:
        sizes = {name: parameter.numel() for name, parameter in self.model.named_parameters()}
        inner = sum(size for name, size in sizes.items() if "embeddings." not in name)
        return {"parameters": sum(sizes.values()), "without_embeddings": inner}

    def encoded(self, texts: Sequence[str]) -> Encoded:
        """A text of no known word piece at all is [UNK]."""
        found = self.words(
            list(texts),
            add_special_tokens=self.special,
            truncation=True,
            max_length=self.max_length,
            return_attention_mask=False,
        )
        columns: dict[str, Any] = dict(found)
        if not self.special:
            unknown = self.words.unk_token_id or 0
            columns = {"input_ids": [ids or [unknown] for ids in columns["input_ids"]]}
        cut = np.array([bool(one.overflowing) for one in found.encodings or []])
        labels = np.zeros(len(texts), np.int64)
        examples = Examples([(text,) for text in texts], labels)
        return Encoded(examples, columns, labels, cut, self.words.pad_token_id or 0)

    @torch.inference_mode()
    def vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """ArithmeticError for NaN or infinity."""
        self.model.eval()
        encoded = self.encoded(texts)
        parts, batches = [], inference_batches(encoded.lengths, budget_on(self.device.type))
        for rows in batches:
            inputs = {name: tensor.to(self.device) for name, tensor in encoded.inputs(rows).items()}
            parts.append(self.model(**inputs).float().cpu().numpy())
        vectors = np.concatenate(parts)[np.argsort(np.concatenate(batches))]
        if not np.isfinite(vectors).all():
            raise ArithmeticError("the encoder answers with numbers that are not finite: lower linking.learning_rate")
        return vectors


class Lent(nn.Module):
    """The embedding block of a model (words, positions, norm), frozen: ids (B, L) -> (B, L, E)."""

    def __init__(self, encoder: LeanformerModel) -> None:
        super().__init__()
        self.block = encoder.embeddings.requires_grad_(False)
        self.block.dropout = nn.Identity()  # type: ignore[assignment]

    def forward(self, input_ids: Tensor) -> Tensor:
        positions_1L = torch.arange(input_ids.shape[1], device=input_ids.device)[None]
        return self.block(self.block.word_embeddings(input_ids), None, positions_1L)


def lend(source: Path, settings: LinkingSettings) -> tuple[PreTrainedTokenizerBase, LeanformerModel]:
    """Returns word pieces and encoder of the model in the folder; raises ValueError if it cannot serve."""
    words, encoder = pretrained.load_tokenizer(source), pretrained.load_encoder(source)
    if settings.max_length > (longest := encoder.config.max_position_embeddings):
        raise ValueError(f"linking.max_length = {settings.max_length}: the model in {source} reads {longest} tokens")
    if settings.max_length <= words.num_special_tokens_to_add():
        raise ValueError(f"linking.max_length = {settings.max_length}: special tokens leave no room for a name")
    return words, encoder


def build(spec: Spec, texts: Sequence[str], settings: LinkingSettings, seed: int, device: torch.device) -> Encoder:
    """Returns an untrained encoder. `texts` are the names, and the mentions to be trained on; what is drawn is a
    function of the seed."""
    if spec.kind == TFIDF:
        return Trigrams(texts)
    if spec.source is None:
        words = tokenizer_files.wrap(tokenizer.train(list(texts), "wordpiece", settings.vocab_size))
    else:
        words, encoder = lend(spec.source, settings)
        if spec.kind != RESCNN:
            pool = SentencePooling((settings.pooling,), (Normalize(),))
            return Neural(Pooled(encoder, pool), words, settings.max_length, device, special=True)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        if spec.source is None:
            model = ResidualCNN(nn.Embedding(len(words), settings.width), settings.width)
        else:
            model = ResidualCNN(Lent(encoder), encoder.config.hidden_size)
    return Neural(model, words, settings.max_length, device, special=False)
