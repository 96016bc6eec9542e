"""Exports for onnxruntime."""

import json
import math
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from transformers import AutoTokenizer

from leanformer.attention import names
from leanformer.exporting import graph, graph_check, int8
from leanformer.exporting.source import open_source
from leanformer.install import how_to_install

ONE = {"num_hidden_layers": 1}
CASES = {
    "masked_lm": {"attention": "random"},
    "stacks": {"attention": "pairwise"},
    "sequences": {"kind": "LeanformerForSequenceClassification", "attention": "random+dot_product", "norm": "pre"},
    "spans": {"kind": "LeanformerForQuestionAnswering", "attention": "phased", "type_vocab_size": 0},
    "decoder": {"kind": "LeanformerForCausalLM", "attention": "dense", "type_vocab_size": 0},
    "pairs": {"kind": "LeanformerForConditionalGeneration", "attention": "shared", "is_encoder_decoder": True},
}
SLOW = {
    "tokens": {"kind": "LeanformerForTokenClassification", "attention": "dot_product"},
    "bare": {"kind": "LeanformerModel", "attention": "dot_product"},
    "choices": {"kind": "LeanformerForMultipleChoice", "attention": "symmetric"},
    "convolution": {"mixer": "convolution", "feed_forward_groups": 3, "intermediate_size": 36},
    "clusters": {"mixer": "clusters"},
    "fourier": {"mixer": "fourier", "mixer_options": {"scaled": True}},
    "linear": {"mixer": "linear"},
    "gmlp": {"mixer": "gmlp", "mixer_options": {"tiny_attention": 8}, "block": "mixing_only", "norm": "pre"},
    "shaped": {"mixer": "shaped", "attention": "pairwise"},
    "shaped_decoder": {"kind": "LeanformerForCausalLM", "mixer": "shaped", "type_vocab_size": 0},
    "simplified": {"mixer": "shaped", "block": "simplified_parallel", "norm": "pre"},
    "windows": {"num_hidden_layers": 2, "sliding_window": 3, "positions": "rotary", "local_rotary_base": 7.0},
} | {name: {"attention": name} for name in names()}
ALL = [*CASES, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]


@pytest.mark.parametrize("name", ALL)
def test_a_graph_answers_as_the_model_does_at_every_size(saved, tmp_path, name):
    """`verify` has compared the two by then; here another reader, other sizes and a row that may attend to nothing."""
    folder = saved(**ONE | (CASES | SLOW)[name])
    source = open_source(folder)
    told = graph.write(source, tmp_path / "model.onnx")
    rows = graph_check.verify(source, tmp_path / "model.onnx")
    assert {(row["batch"], row["length"]) for row in rows} > {(1, 1), (1, 29), (2, 29), (3, 28)}
    assert {row["input"] for row in rows} == {"random", "text"}
    assert max(row["difference"] for row in rows) < 2e-5
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    inputs = graph.inputs_of(source, 4, 13)
    inputs["attention_mask"][1:3] = 0
    expected = source.model(**inputs)
    found = session.run(None, {key: tensor.numpy() for key, tensor in inputs.items()})
    for key, value in zip(told["outputs"], found, strict=True):
        assert np.isfinite(value).all()
        torch.testing.assert_close(torch.from_numpy(value), expected[key].detach(), rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("name", ALL)
def test_int8_is_near_with_every_kind_of_weight(saved, tmp_path, name):
    source = open_source(saved(**ONE | (CASES | SLOW)[name]))
    graph.write(source, tmp_path / "model.onnx")
    int8.quantise(tmp_path / "model.onnx", tmp_path / "small.onnx")
    cost = int8.cost(source, tmp_path / "model.onnx", tmp_path / "small.onnx")
    assert cost["mean_difference"] < max(
        0.1 * cost["sd_of_outputs"], 2e-3
    )  # scores of choices hardly differ, untrained
    small = onnx.load(tmp_path / "small.onnx").graph
    weights = {
        each.name for each in small.initializer if len(each.dims) > 1 and each.data_type == onnx.TensorProto.FLOAT
    }
    assert not [node.name for node in small.node if node.op_type == "MatMul" and set(node.input) & weights]


@pytest.mark.parametrize("plan", ["all", "attention", "kv:2"])
def test_a_graph_holds_shared_layers_once(saved, tmp_path, plan):
    source = open_source(saved(num_hidden_layers=4, layer_sharing=plan))
    graph.write(source, tmp_path / "model.onnx")
    graph_check.verify(source, tmp_path / "model.onnx")
    held = onnx.load(tmp_path / "model.onnx").graph.initializer
    table = source.model.get_input_embeddings().weight.numel()  # the exporter turns the tied one for the scores
    assert sum(math.prod(each.dims) for each in held if each.dims) < source.model.num_parameters() + table + 30


@pytest.mark.parametrize("kind", ["LeanformerForSequenceClassification", "LeanformerForMaskedLM"])
def test_an_export_says_nothing_of_its_own_to_a_user(saved, tmp_path, capfd, kind):
    """A batch size that the trace had fixed would be a traceback of PyTorch's, though the export goes on."""
    graph.write(open_source(saved(kind)), tmp_path / "model.onnx")
    assert "Error" not in capfd.readouterr().err


def test_int8_is_smaller_and_its_cost_is_told(command, saved, text, tmp_path, monkeypatch):
    export = torch.onnx.export

    def talkative(*arguments, **options):  # as the exporter is with some versions of onnxscript
        print("Applied 12 of general pattern rewrite rules.")
        return export(*arguments, **options)

    monkeypatch.setattr(torch.onnx, "export", talkative)
    folder = saved(hidden_size=48, intermediate_size=192, **ONE)
    (tmp_path / "novels.txt").write_text(text[:3000], encoding="utf-8")
    arguments = ("--format", "onnx", "--int8", "--text", tmp_path / "novels.txt", "--license", "mit", "--json")
    status, out, err = command("export", folder, tmp_path / "out", *arguments)
    assert status == 0, err
    told = json.loads(out)
    assert told["opset"] >= 18 and told["inputs"] == ["input_ids", "attention_mask", "token_type_ids"]
    assert told["bytes"]["model_int8.onnx"] < 0.6 * told["bytes"]["model.onnx"]
    assert 0 < told["int8"]["mean_difference"] < 0.05 * told["int8"]["sd_of_outputs"]
    losses = told["text"]["loss"]
    assert losses["model.onnx"] > 0 and losses["model_int8.onnx"] == pytest.approx(losses["model.onnx"], rel=0.02)
    assert json.loads((tmp_path / "out" / "export.json").read_text()) | {"path": told["path"]} == told
    card = (tmp_path / "out" / "README.md").read_text()
    assert f"{losses['model_int8.onnx']:.4f} nats" in card and "\nlicense: mit\n" in card
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert tokenizer("the house")["input_ids"][0] == tokenizer.cls_token_id
    assert str(sys.prefix).encode() not in (tmp_path / "out" / "model.onnx").read_bytes(), "paths of this machine"


def test_the_cost_of_int8_is_printed_in_a_line(command, monkeypatch):
    cost = {"input": "text", "mean_difference": 0.0123, "largest_difference": 0.456, "sd_of_outputs": 1.5}
    report = {"format": "onnx", "int8": cost, "text": {"loss": {"model.onnx": 3.25, "model_int8.onnx": 3.26}}}
    monkeypatch.setattr("leanformer.export", lambda *_, **__: report, raising=False)
    line = "int8: outputs on text differ by 0.012 in the mean and 0.46 at most, their sd is 1.5; loss 3.2600 nats, "
    assert command("export", ".", "DST")[1] == f"format: onnx\n{line}3.2500 in float32\n"


def test_losses_are_those_that_perplexity_measures(saved, text, tmp_path):
    from leanformer.evaluation.perplexity import perplexity

    folder = saved(**ONE)
    (tmp_path / "novels.txt").write_text(text[:2000], encoding="utf-8")
    source = open_source(folder)
    graph.write(source, tmp_path / "model.onnx")
    measured = int8.losses(
        source, int8.text_to_measure(source, tmp_path / "novels.txt"), {"whole": tmp_path / "model.onnx"}
    )
    reference = perplexity(folder, tmp_path / "novels.txt", precision="fp32")
    assert measured["loss"]["whole"] == pytest.approx(reference["loss"], rel=1e-5)
    assert measured["sequences"] == reference["sequences"]


def test_what_cannot_be_exported_is_refused_and_leaves_nothing(command, saved, tmp_path, monkeypatch):
    folder = saved(**ONE)

    def untraceable(*_, **__):
        raise RuntimeError("no such operator\nand a page of advice")

    short = tmp_path.with_name("short.txt")
    short.write_text("The old house.")
    with monkeypatch.context() as patch:
        patch.setattr(torch.onnx, "export", untraceable)
        status, _, err = command("export", folder, tmp_path / "out", "--format", "onnx", "--int8", "--text", short)
        assert status == 2 and "short.txt has 6 held-out tokens, not one sequence of 29: give more text" in err
        status, _, err = command("export", folder, tmp_path / "out", "--format", "onnx")
    assert status == 2 and "dot_product cannot be written as ONNX (no such operator)" in err
    monkeypatch.setattr(graph, "NEEDED", ("onnx", "not_installed_anywhere"))
    status, _, err = command("export", folder, tmp_path / "out", "--format", "onnx")
    assert status == 2 and f"needs not_installed_anywhere, not installed here: {how_to_install('export')}" in err
    status, _, err = command("export", folder, tmp_path / "out", "--int8")
    assert status == 2 and "--int8 is for --format onnx" in err
    assert list(tmp_path.iterdir()) == []


def test_a_graph_that_answers_otherwise_is_refused(saved, tmp_path):
    source = open_source(saved(**ONE))
    other = open_source(saved(attention="symmetric", **ONE))
    graph.write(other, tmp_path / "model.onnx")
    with pytest.raises(ValueError, match="dot_product: the ONNX graph differs by .* in logits on random input"):
        graph_check.verify(source, tmp_path / "model.onnx")


def test_text_is_for_masked_language_models(saved, tmp_path):
    source = open_source(saved("LeanformerForTokenClassification", **ONE))
    with pytest.raises(ValueError, match="--text measures masked language models"):
        int8.text_to_measure(source, tmp_path / "novels.txt")
    with pytest.raises(FileNotFoundError, match=r"novels\.txt is no file"):
        int8.text_to_measure(open_source(saved(**ONE)), tmp_path / "novels.txt")


def test_commands_that_read_models_say_what_a_graph_is_for(saved, tmp_path, command):
    folder = saved(**ONE)
    (folder / "model.safetensors").rename(folder / "model.onnx")  # an export holds all else that a saved model does
    (tmp_path / "texts.txt").write_text("The old [MASK]\n")
    out = ("--out", tmp_path / "out.npy")
    for arguments in (
        ("predict", folder, tmp_path / "texts.txt"),
        ("embed", folder, tmp_path / "texts.txt", *out),
        ("export", folder, tmp_path / "out"),
        ("convert", folder, tmp_path / "out"),
    ):
        status, told, err = command(*arguments)
        assert (status, told, err.count("\n")) == (2, "", 1)
        assert f"{folder} holds a graph for onnxruntime: run that as its README.md shows, or give the model" in err
    assert [path.name for path in tmp_path.iterdir()] == ["texts.txt"]
