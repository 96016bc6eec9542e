"""Exports of a sentence-transformers model: its vectors, in plain sentence-transformers and in onnxruntime alone."""

import json
import os
import subprocess
import sys

import numpy as np
import onnxruntime
import pytest
import torch
from transformers import AutoTokenizer

from leanformer.conversion.convert import convert
from leanformer.exporting import standalone_check
from leanformer.exporting.export import export

library = pytest.importorskip("sentence_transformers")
from sentence_transformers.sentence_transformer import modules  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
TEXTS = ["The old house by the river", "", "years " * 40]
WITHOUT_LEANFORMER = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("standalone_check", sys.argv[1])
standalone_check = importlib.util.module_from_spec(spec)
spec.loader.exec_module(standalone_check)
sys.meta_path.insert(0, standalone_check.Absent)
import builtins, json
import numpy as np
from sentence_transformers import SentenceTransformer
from transformers import AutoTokenizer, PreTrainedTokenizerFast

asked = []
builtins.input = lambda *question: asked.append(question) or "n"
tokens = AutoTokenizer.from_pretrained(sys.argv[2], trust_remote_code=False)("the old house")["input_ids"]
assert PreTrainedTokenizerFast.from_pretrained(sys.argv[2])("the old house")["input_ids"] == tokens
model = SentenceTransformer(sys.argv[2], device="cpu", trust_remote_code=True)
np.save(sys.argv[4], model.encode(json.loads(sys.argv[3]), show_progress_bar=False))
assert not asked, asked
assert type(model[0].auto_model).__module__.startswith("transformers_modules.")
"""


@pytest.fixture(scope="module")
def converted(sentence_model, tmp_path_factory):
    """(a converted model, the original's vectors)"""
    torch.manual_seed(5)
    parts = (modules.Pooling(30, ("mean", "max")), modules.Dense(60, 7), modules.Normalize())
    source = sentence_model(*parts, max_length=13, prompts={"query": "query : "}, default_prompt_name="query")
    original = library.SentenceTransformer(str(source), device="cpu", trust_remote_code=False)
    target = tmp_path_factory.mktemp("converted") / "ours"
    convert(source, target)
    return target, original.encode(TEXTS, show_progress_bar=False)


def test_the_hub_export_is_a_sentence_transformers_model_where_leanformer_is_unknown(converted, tmp_path):
    folder, expected = converted
    export(folder, tmp_path / "out")
    (tmp_path / "script.py").write_text(WITHOUT_LEANFORMER)
    arguments = (tmp_path / "script.py", standalone_check.__file__, tmp_path / "out", json.dumps(TEXTS))
    command = [sys.executable, "-I", *map(str, arguments), str(tmp_path / "vectors.npy")]
    own = {"HF_MODULES_CACHE": str(tmp_path / "modules"), "HF_HUB_OFFLINE": "1"}
    ran = subprocess.run(command, env=os.environ | own, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr[-3000:]
    np.testing.assert_allclose(np.load(tmp_path / "vectors.npy"), expected, rtol=1e-6, atol=1e-6)
    card = (tmp_path / "out" / "README.md").read_text()
    assert "library_name: sentence-transformers" in card and "pipeline_tag: sentence-similarity" in card
    assert 'SentenceTransformer("out", trust_remote_code=True)' in card


def test_the_graph_computes_the_vectors(converted, tmp_path):
    folder, expected = converted
    export(folder, tmp_path / "out", "onnx")
    assert (tmp_path / "out" / "2_Dense" / "model.safetensors").is_file()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out", trust_remote_code=False)
    session = onnxruntime.InferenceSession(tmp_path / "out" / "model.onnx", providers=["CPUExecutionProvider"])
    inputs = tokenizer(["query : " + text for text in TEXTS], padding=True, truncation=True, return_tensors="np")
    assert inputs["input_ids"].shape == (3, 13)
    (found,) = session.run(["sentence_embedding"], dict(inputs))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    card = (tmp_path / "out" / "README.md").read_text()
    assert "of at most 13 tokens, by the parts Pooling, Dense, Normalize" in card and "'query : ' before it" in card
    with pytest.raises(ValueError, match="--text measures masked language models, and the graph of .* gives vectors"):
        export(folder, tmp_path / "no", "onnx", text=tmp_path / "out" / "README.md")


@pytest.mark.parametrize("include_prompt", [True, False])
def test_the_graph_reads_texts_as_the_parts_say(include_prompt, sentence_model, tmp_path):
    """In lower case by its tokenizer, and with the default prompt left out of the vector where the parts do so."""
    parts = (modules.Pooling(30, ("max", "cls", "mean"), include_prompt=include_prompt), modules.Normalize())
    settings = {"prompts": {"query": "Query : the "}, "default_prompt_name": "query"}
    source = sentence_model(*parts, lower_case=True, **settings)
    texts = ["The old HOUSE by the river", "Nobody", "years " * 40]
    original = library.SentenceTransformer(str(source), device="cpu", trust_remote_code=False)
    expected = original.encode(texts, show_progress_bar=False)
    convert(source, tmp_path / "ours")
    export(tmp_path / "ours", tmp_path / "out", "onnx")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out", trust_remote_code=False)
    session = onnxruntime.InferenceSession(tmp_path / "out" / "model.onnx", providers=["CPUExecutionProvider"])
    inputs = dict(
        tokenizer(["Query : the " + text for text in texts], padding=True, truncation=True, return_tensors="np")
    )
    (found,) = session.run(["sentence_embedding"], inputs)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    said = "leaves the first 4 tokens of every\ntext out of its vector" in (tmp_path / "out" / "README.md").read_text()
    assert said is not include_prompt
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "ours" / name).unlink()
    if not include_prompt:
        with pytest.raises(ValueError, match="do not pool the prompt 'Query : the ', and no tokenizer says how many"):
            export(tmp_path / "ours", tmp_path / "no", "onnx")


def test_the_card_says_that_a_graph_without_a_default_prompt_is_for_texts_without_one(sentence_model, tmp_path):
    source = sentence_model(modules.Pooling(30, "mean", include_prompt=False), prompts={"query": "query : "})
    convert(source, tmp_path / "ours")
    export(tmp_path / "ours", tmp_path / "out", "onnx")
    assert "it is for texts without one." in (tmp_path / "out" / "README.md").read_text()
