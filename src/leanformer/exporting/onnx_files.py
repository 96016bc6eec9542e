"""An export for onnxruntime: a folder that needs neither leanformer nor torch.

model.onnx         the graph and its weights in float32 (beyond 1.9 GB the weights are in model.onnx.data)
model_int8.onnx    if asked for, the same with 8-bit products
tokenizer*.json    if there is a tokenizer
modules.json, ...  of a sentence-transformers model: its parts; the graph has their vectors as sentence_embedding
config.json        sizes and the names of the labels
export.json        opset, inputs, outputs, what was verified and how closely, sizes, and what int8 costs
README.md          the model card
"""

from importlib.metadata import version
from pathlib import Path
from typing import Any

from leanformer import files
from leanformer.data.corpus import Corpus
from leanformer.exporting import graph, int8
from leanformer.exporting.card import card
from leanformer.exporting.graph_check import TOLERANCE, verify
from leanformer.exporting.source import Source, save_beside
from leanformer.models.sentence_pooling import sentence_pooling

WHOLE, SMALL = "model.onnx", "model_int8.onnx"
USE = """```python
import onnxruntime
from transformers import AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("{name}", trust_remote_code=False)
session = onnxruntime.InferenceSession("{name}/model.onnx")
inputs = tokenizer(["A text.", "Another, longer text."], padding=True, truncation=True, return_tensors="np")
outputs = session.run(None, dict(inputs))
```

Opset {opset}; inputs {inputs} (int64), outputs {outputs}. Batch and length are free, up to {longest} tokens.
Checked against the model in PyTorch: no number differs by more than {difference:.1e} (allowed are {tolerance:.0e},
absolute and relative).{sentences}{int8}"""
SENTENCES = """ `sentence_embedding` is the vector of each text, of at most {length} tokens, by the parts {parts} of
sentence-transformers{prompt}."""
LEFT_OUT = """ These parts do not pool the tokens of the prompt: the graph leaves the first {number} tokens of every
text out of its vector, so every text must stand behind this prompt."""
NO_PROMPT = """ These parts do not pool the tokens of a prompt, and the graph does not know how many tokens a prompt
has: it is for texts without one."""
COST = """ `model_int8.onnx` has 8-bit products: its outputs on {input} differ by up to {largest_difference:.3g}, in the
mean by {mean_difference:.3g}, where outputs have a standard deviation of {sd_of_outputs:.3g}.{loss}"""
LOSS = " Masked-LM loss on {text!r}: {small:.4f} nats, {whole:.4f} without it ({sequences:,} sequences)."


def write(
    source: Source, folder: Path, name: str, licence: str | None = None, small: bool = False, text: Corpus | None = None
) -> dict[str, Any]:
    """All files into `folder`; what export.json says. ValueError if the graph does not answer as the model does."""
    source, paths = graph.encoder_of(source), {WHOLE: folder / WHOLE}
    made = graph.write(source, paths[WHOLE])
    checks = verify(source, paths[WHOLE])
    report = {"schema": 1, "kind": "export", "format": "onnx", **made, "tolerance": TOLERANCE}
    report |= {"difference": max(check["difference"] for check in checks), "checks": checks}
    if small:
        paths[SMALL] = folder / SMALL
        int8.quantise(paths[WHOLE], paths[SMALL])
        report["int8"] = int8.cost(source, paths[WHOLE], paths[SMALL])
    if text is not None:
        report["text"] = int8.losses(source, text, paths)
    report["bytes"] = {file.name: file.stat().st_size for file in sorted(folder.glob("*.onnx*"))}
    report["versions"] = {package: version(package) for package in ("torch", "transformers", *graph.NEEDED)}
    files.write_json(folder / "export.json", report)
    source.config.save_pretrained(folder)
    save_beside(source, folder)
    text_of_card = card(source, name, _use(source, name, report), ["onnx"], licence)
    (folder / "README.md").write_text(text_of_card, encoding="utf-8")
    return report


def _use(source: Source, name: str, report: dict[str, Any]) -> str:
    int8_text, measured, loss = "", report.get("text"), ""
    if measured and SMALL in measured["loss"]:
        loss = LOSS.format(**measured, small=measured["loss"][SMALL], whole=measured["loss"][WHOLE])
    if "int8" in report:
        int8_text = COST.format(**report["int8"], loss=loss)
    listed = {key: ", ".join(f"`{each}`" for each in report[key]) for key in ("inputs", "outputs")}
    longest = source.config.max_position_embeddings
    sentences = ""
    if (parts := source.parts) is not None:
        prompt = f", with the prompt {parts.prompts[parts.default_prompt]!r} before it" if parts.default_prompt else ""
        sentences = SENTENCES.format(length=parts.max_length(longest), parts=parts.names, prompt=prompt)
        if number := graph.left_out(source):
            sentences += LEFT_OUT.format(number=number)
        elif parts.prompts and not sentence_pooling(parts, source.config.hidden_size).include_prompt:
            sentences += NO_PROMPT
    own = {"int8": int8_text, "name": name, "longest": longest, "sentences": sentences}
    return USE.format(**{**report, **listed, **own})
