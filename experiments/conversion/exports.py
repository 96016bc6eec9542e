"""The forms a model is exported in: how large, how fast, how good.

    hub            float32, as the folder for the hub holds it
    bf16, int8     its copies by `for_inference`
    onnx, onnx int8    the graphs, by onnxruntime

Speed is the time of the teacher's float32 over a form's own, in the same round: all forms of all models take turns.
It is the processor time of one thread for a batch with the scores of every position, so what else the machine does
tells little. Loss is that of all held-out masks of validation, in nats.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from experiments.conversion.plan import Plan
from experiments.protocol import read_result, slug
from leanformer.bench.rounds import alternate, ratio, repeats, turn
from leanformer.data.corpus import Corpus
from leanformer.evaluation import pretrained
from leanformer.evaluation.perplexity import perplexity
from leanformer.exporting import int8
from leanformer.exporting.graph_check import Session
from leanformer.exporting.onnx_files import SMALL, WHOLE
from leanformer.exporting.source import open_source
from leanformer.models import saved
from leanformer.models.inference import PRECISIONS, for_inference

BATCH, ROUNDS = 8, 5
Step = Callable[[], Any]


def measure(p: Plan) -> list[dict[str, Any]]:
    """A row a model and a form; the exports are there."""
    ids = torch.from_numpy(p.corpus.valid.batch(range(BATCH), p.settings.training.sequence_length)).long()
    forms = [form for name, run in p.exported().items() for form in _forms(p, name, p.out / run, ids)]
    before, cpu = torch.get_num_threads(), torch.device("cpu")
    torch.set_num_threads(1)
    try:
        turns = {str(place): turn(step, repeats(step, cpu), cpu) for place, (_, step) in enumerate(forms)}
        times = list(alternate(turns, ROUNDS, lambda: None).values())
    finally:
        torch.set_num_threads(before)
    return [row | {"speed": ratio(times[0], own)} for (row, _), own in zip(forms, times, strict=True)]


def _forms(p: Plan, name: str, run: Path, ids: torch.Tensor) -> list[tuple[dict[str, Any], Step]]:
    """What is known of a form, and a step of it; bf16 and int8 are made of the hub's file when they are loaded."""
    folder = p.out / f"exports/{slug(name)}"
    model = pretrained.load(saved.locate(run), "masked_lm").eval()
    size = (folder / "hub" / "model.safetensors").stat().st_size
    found: list[tuple[str, int | None, float, Step]] = []
    for form in ("hub", *PRECISIONS):
        copy = model if form == "hub" else for_inference(model, form)
        loss = perplexity(run, p.data, precision="fp32" if form == "hub" else form)["loss"]
        step = torch.inference_mode()(partial(copy, input_ids=ids))
        found.append((form, size if form == "hub" else None, loss, step))
    graphs = {"onnx": folder / "onnx" / WHOLE, "onnx int8": folder / "onnx" / SMALL}
    losses = int8.losses(open_source(run), Corpus.open(p.data), graphs)["loss"]
    sizes = read_result(folder / "onnx" / "export.json")["bytes"]
    known = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "token_type_ids": torch.zeros_like(ids)}
    for form, path in graphs.items():
        session = Session(path)
        step = partial(session, {key: known[key] for key in session.inputs})
        found.append((form, sizes[path.name], losses[form], step))
    return [({"model": name, "form": form, "bytes": size, "loss": loss}, step) for form, size, loss, step in found]
