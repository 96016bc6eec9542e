"""What computes the answers of a model: PyTorch or ONNX Runtime, in a precision.

    backend   precision          computes
    torch     fp32, bf16, int8   the model itself; bf16 and int8 are those of `models/inference.py`
    onnx      fp32, int8         the model's graph (`exporting/cached_graph.py`) on the CPU

`auto` takes torch, and for int8 ONNX Runtime where it is installed. fp32 gives equal answers from both, within the
errors of rounding. int8 rounds by the largest number of a batch, so that a text's answer depends slightly on the
others.
"""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers.utils import ModelOutput

from leanformer.attention import take
from leanformer.data.tasks import Task
from leanformer.evaluation import pretrained
from leanformer.exporting.cached_graph import Part, open_graph
from leanformer.exporting.graph_check import Session
from leanformer.models import LeanformerConfig, saved
from leanformer.models.inference import for_inference
from leanformer.spelling import suggest
from leanformer.training.machine.hardware import autocast_dtype

BACKENDS = ("auto", "torch", "onnx")
PRECISIONS = ("fp32", "bf16", "int8")


class GraphModel(nn.Module):
    """A graph in the place of the model that it was made of: the same inputs, and outputs of the same names."""

    def __init__(self, session: Session, config: LeanformerConfig) -> None:
        super().__init__()
        self.session, self.config, self.device = session, config, torch.device("cpu")

    def forward(self, places: Tensor | None = None, **inputs: Tensor) -> ModelOutput:
        """Returns the outputs; with `places` (B, N) the last hidden states are those of these tokens, (B, N, D)."""
        found = self.session({name: inputs[name].cpu() for name in self.session.inputs})
        outputs = {name: torch.from_numpy(value) for name, value in found.items()}
        if places is not None:
            outputs["last_hidden_state"] = take(outputs["last_hidden_state"], places.cpu())
        return ModelOutput(outputs)


@dataclass(frozen=True)
class Backend:
    """A backend and a precision that go together; `of` checks that they do."""

    name: str
    precision: str

    @classmethod
    def of(cls, name: str = "auto", precision: str = "fp32") -> "Backend":
        """Raises ValueError for an unknown name and for what the machine cannot compute or only emulates."""
        if name not in BACKENDS:
            raise ValueError(f"--backend {name}: {suggest(name, BACKENDS)}")
        if precision not in PRECISIONS:
            raise ValueError(f"--precision {precision}: {suggest(precision, PRECISIONS)}")
        if name == "auto":
            name = "onnx" if precision == "int8" and find_spec("onnxruntime") else "torch"
        if precision == "bf16" and name == "onnx":
            raise ValueError("--backend onnx computes in fp32 or int8: take --backend torch for --precision bf16")
        if precision == "bf16" and autocast_dtype("auto", pretrained.device()) is None:
            raise ValueError("--precision bf16 would be emulated on this machine, and slow: take fp32 or int8")
        return cls(name, precision)

    @property
    def record(self) -> dict[str, str]:
        """Returns both names where they are not what computes unless something else is asked for."""
        plain = (self.name, self.precision) == ("torch", "fp32")
        return {} if plain else {"backend": self.name, "precision": self.precision}

    def encoder(self, folder: Path, config: LeanformerConfig | None = None) -> Any:
        """Returns the encoder of a saved model, or the graph of it."""
        if self.name == "onnx":
            pretrained.require_encoder(folder, saved.config_of(folder))
            return self._graph(folder, "encoder")
        return self._fast(pretrained.load_encoder(folder, config))

    def whole(self, folder: Path, task: Task | None = None) -> Any:
        """Returns a saved model with its head, or the graph of it. Masks are filled by torch alone, which computes the
        scores of the masked tokens and no others."""
        if self.name == "torch":
            return self._fast(pretrained.load_as_saved(folder, task))
        if task is None:
            raise ValueError(f"--backend onnx: {folder} fills masks, which --backend torch does faster: take it")
        return self._graph(folder, "whole")

    def int8_cost(self, folder: Path) -> dict[str, Any] | None:
        """Returns what the 8-bit graph of the encoder costs in accuracy, measured when it was made."""
        if (self.name, self.precision) != ("onnx", "int8"):
            return None
        cost: dict[str, Any] = open_graph(folder, "encoder", small=True)[1]["int8"]
        return cost

    def _graph(self, folder: Path, part: Part) -> GraphModel:
        session, _ = open_graph(folder, part, small=self.precision == "int8")
        return GraphModel(session, saved.config_of(folder)).eval()

    def _fast(self, model: Any) -> Any:
        return model if self.precision == "fp32" else for_inference(model, self.precision)
