"""Learning to link as the training loop sees it: a batch is B mentions, then a name of what each of them means.

The name is drawn anew every epoch from all that the dictionary has for the mention's id, save the mention itself where
there is another, so that two texts have to meet; mentions that mean the same are of one kind, too, and all else in the
batch is different. A text that is annotated a hundred times is learned from once an epoch.
"""

import math
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from leanformer.data.order import permutation
from leanformer.data.randomness import random_bits
from leanformer.linking.dictionary import Dictionary
from leanformer.linking.encoders import Neural
from leanformer.linking.loss import multi_similarity_loss
from leanformer.linking.settings import LinkingSettings
from leanformer.training.objectives.protocol import Batch


class LinkingObjective:
    def __init__(
        self,
        encoder: Neural,
        mentions: Sequence[tuple[str, str]],
        dictionary: Dictionary,
        settings: LinkingSettings,
        seed: int,
    ) -> None:
        """`mentions` are (text, id), the id one of the dictionary's."""
        self.settings, self.seed = settings, seed
        mentions = list(dict.fromkeys(mentions))
        names = [[name for name in dictionary.synonyms(id) if name != text] or [text] for text, id in mentions]
        texts = list(dict.fromkeys([*(text for text, _ in mentions), *(name for each in names for name in each)]))
        row = {text: number for number, text in enumerate(texts)}
        self.encoded = encoder.encoded(texts)
        self.mentions = np.array([row[text] for text, _ in mentions], np.int64)
        self.labels = np.array([dictionary.label(id) for _, id in mentions], np.int64)
        self.names = [np.array([row[name] for name in each], np.int64) for each in names]
        self.batch_size = min(settings.batch_size, len(mentions))
        self.total_steps = math.ceil(settings.epochs * len(mentions) / self.batch_size)
        self.tokens_per_step = round(2 * self.batch_size * float(self.encoded.lengths.mean()))

    def micro_batches(self, step: int, rank: int, world: int) -> list[Batch]:
        """The whole batch at once: what is compared must be seen together."""
        chosen, epochs = self.chosen(step)
        rows = np.concatenate([self.mentions[chosen], self.drawn(chosen, epochs)])
        labels = torch.from_numpy(np.tile(self.labels[chosen], 2))
        return [self.encoded.inputs(rows) | {"labels": labels}]

    def chosen(self, step: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Returns the mentions (B,) of this step, and the epoch that each is read in."""
        size = len(self.mentions)
        epochs, places = np.divmod(np.arange(step * self.batch_size, (step + 1) * self.batch_size), size)
        of_epochs = [permutation(places[epochs == e], size, self.seed, int(e)) for e in np.unique(epochs)]
        return np.concatenate(of_epochs), epochs

    def drawn(self, chosen: NDArray[np.int64], epochs: NDArray[np.int64]) -> NDArray[np.int64]:
        """Returns the number of one name for each of the `chosen` mentions, (B,)."""
        bits = random_bits(self.seed, epochs, chosen)
        return np.array([self.names[m][int(b) % len(self.names[m])] for m, b in zip(chosen, bits, strict=True)])

    def tokens(self, steps: int) -> int:
        return steps * self.tokens_per_step

    def num_targets(self, batch: Batch) -> int:
        return len(batch["labels"])

    def loss_sum(self, model: nn.Module, batch: Batch) -> Tensor:
        vectors_BD = model(**{name: tensor for name, tensor in batch.items() if name != "labels"})
        of = self.settings
        with torch.autocast(vectors_BD.device.type, enabled=False):  # beta = 50 times a rounded cosine is noise
            return multi_similarity_loss(
                vectors_BD, batch["labels"], alpha=of.alpha, beta=of.beta, base=of.base, epsilon=of.epsilon
            ).sum()

    def validation_batches(self, rank: int, world: int) -> Iterable[Batch]:
        return ()
