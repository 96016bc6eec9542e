"""The forms a model is exported in: how large, how fast, how good.

    hub            float32, as the folder for the hub holds it
    bf16, int8     its copies by `for_inference`
    onnx, onnx int8    the graphs, by onnxruntime

Speed is the time of the teacher's float32 over a form's own, in the same round: all forms of all models take turns.
It is the processor time of one thread for a batch with the scores of every position, so what else the machine does
tells little. Loss is that of all held-out masks of validation, in nats.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from experiments.conversion.plan import Plan
from experiments.protocol import read_result, slug
from leanformer.bench.rounds import alternate, ratio, repeats, turn
from leanformer.evaluation import pretrained
from leanformer.evaluation.perplexity import perplexity
from leanformer.export import int8
from leanformer.export.graph_check import Session
from leanformer.export.onnx_files import SMALL, WHOLE
from leanformer.export.source import open_source
from leanformer.models import saved
from leanformer.models.inference import PRECISIONS, for_inference

BATCH, ROUNDS = 8, 5


def measure(p: Plan) -> list[dict[str, Any]]:
    """A row a model and a form; the exports are there."""
    there = {name: p.out / run for name, run in p.exported().items()}
    ids = torch.from_numpy(p.corpus.valid.batch(range(BATCH), p.settings.training.sequence_length)).long()
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        steps = {(name, form): step for name, run in there.items() for form, step in _steps(p, name, run, ids).items()}
        cpu = torch.device("cpu")
        turns = {form: turn(step, repeats(step, cpu), cpu) for form, step in steps.items()}
        times = alternate(turns, ROUNDS, lambda: None)
    finally:
        torch.set_num_threads(before)
    rows = []
    for name, run in there.items():
        known = _known(p, name, run)
        for form, (size, loss) in known.items():
            speed = ratio(times["teacher", "hub"], times[name, form])
            rows.append({"model": name, "form": form, "bytes": size, "loss": loss, "speed": speed})
    return rows


def _steps(p: Plan, name: str, run: Path, ids: torch.Tensor) -> dict[str, Callable[[], Any]]:
    model = pretrained.load(saved.locate(run), "masked_lm").eval()
    models = {"hub": model} | {precision: for_inference(model, precision) for precision in PRECISIONS}
    folder = p.out / f"exports/{slug(name)}/onnx"
    sessions = {"onnx": Session(folder / WHOLE), "onnx int8": Session(folder / SMALL)}
    known = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "token_type_ids": torch.zeros_like(ids)}

    def asked(each: Any) -> Callable[[], Any]:
        def step() -> Any:
            with torch.inference_mode():
                return each(input_ids=ids).logits

        return step

    def run_graph(session: Session) -> Callable[[], Any]:
        return lambda: session({key: known[key] for key in session.inputs})

    return {form: asked(each) for form, each in models.items()} | {
        form: run_graph(session) for form, session in sessions.items()
    }


def _known(p: Plan, name: str, run: Path) -> dict[str, tuple[int | None, float]]:
    """Bytes and loss of every form; bf16 and int8 are made of the hub's file when they are loaded."""
    folder = p.out / f"exports/{slug(name)}"
    graphs = {form: folder / "onnx" / file for form, file in (("onnx", WHOLE), ("onnx int8", SMALL))}
    losses = int8.losses(open_source(run), p.data, graphs)["loss"]
    found: dict[str, tuple[int | None, float]] = {}
    for form, precision in (("hub", "fp32"), *((each, each) for each in PRECISIONS)):
        size = (folder / "hub" / "model.safetensors").stat().st_size if form == "hub" else None
        found[form] = size, perplexity(run, p.data, precision=precision)["loss"]
    sizes = read_result(folder / "onnx" / "export.json")["bytes"]
    return found | {form: (sizes[path.name], losses[form]) for form, path in graphs.items()}
