"""A model with one batch, whose training step and inference can be repeated.

A training step is forward, backward, clipping and AdamW of the masked LM with 15 % of the positions predicted, as in
the training loop. Inference is the encoder without head in evaluation, over a full batch or one in which every second
row lacks its last third. Tokens are random, since they do not change the time of a step.
"""

from typing import Any

import torch
from torch import nn

from leanformer.attention import MultiHeadAttention
from leanformer.data.masking import count
from leanformer.models import LeanformerConfig, LeanformerForMaskedLM
from leanformer.models.cost import ledger
from leanformer.training.objectives.masked_lm import VALIDATION_RATE


def scored(length: int) -> int:
    """The number of predicted positions per sequence."""
    return count(VALIDATION_RATE, length)


def costs(config: LeanformerConfig, length: int) -> dict[str, Any]:
    """Returns closed forms: `parameters`, and FLOPs per token of the two kinds of steps."""
    found = ledger(config, length, scored(length))
    flops = found["flops_per_token"]
    flops = {"training": flops["training"], "inference": flops["attention"] + flops["feed_forward"]}
    return {"parameters": found["parameters"]["total"], "flops_per_token": flops}


class Model:
    def __init__(
        self,
        config: LeanformerConfig,
        length: int,
        batch: int,
        device: torch.device,
        dtype: torch.dtype | None,
        compiled: bool = False,
    ) -> None:
        torch.manual_seed(1)
        self.device, self.dtype = device, dtype
        self.model = LeanformerForMaskedLM(config)
        nn.Module.to(self.model, device)
        self.learner: Any = torch.compile(self.model) if compiled else self.model
        self.encoder: Any = torch.compile(self.model.encoder) if compiled else self.model.encoder
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4, fused=True)
        generator, masked = torch.Generator().manual_seed(1), scored(length)
        ids = torch.randint(5, config.vocab_size, (batch, length), generator=generator)
        positions = torch.rand(batch, length, generator=generator).argsort(-1)[:, :masked].sort(-1)[0]
        labels = torch.randint(5, config.vocab_size, (batch, masked), generator=generator)
        padding = torch.ones_like(ids)
        padding[::2, -(-2 * length // 3) :] = 0
        self.ids, self.positions, self.labels, self.padding = (
            tensor.to(device) for tensor in (ids, positions, labels, padding)
        )

    def train(self) -> None:
        self.model.train()
        self.optimizer.zero_grad()
        with self._autocast():
            asked = {"masked_positions": self.positions, "labels": self.labels}
            loss = self.learner(self.ids, **asked, return_logits=False).loss
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()

    def infer(self) -> None:
        self._encode(None)

    def infer_padded(self) -> None:
        self._encode(self.padding)

    def path(self) -> str | None:
        """The kernel that attention used last (`attention/attend.py`); None for a mixer without heads."""
        layers = (module for module in self.model.modules() if isinstance(module, MultiHeadAttention))
        return next((layer.path for layer in layers), None)

    def _encode(self, padding: torch.Tensor | None) -> None:
        self.model.eval()
        with torch.inference_mode(), self._autocast():
            self.encoder(self.ids, padding)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.dtype is not None)
