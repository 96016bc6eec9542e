"""Vectors of lines: equal to one text at a time through the plain model, whatever meets in a batch."""

import gzip
import json
import lzma
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from leanformer import LeanformerForCausalLM, LeanformerModel
from leanformer.evaluation import pretrained
from leanformer.inference import embed
from leanformer.models import saved

TEXTS = ["w3 w4", "w1 w2 w3 w4 w5 w6 w7", "", "w9", "w5 w5 w6", " ".join(["w2"] * 40), "w1"]
LENGTH = 19  # what the model reads


def write(folder: Path, name: str) -> Path:
    path = folder / name
    rows = "".join((json.dumps({"text": t, "id": 1}) if ".jsonl" in name else t) + "\n" for t in TEXTS)
    pack = {".xz": lzma.compress, ".gz": gzip.compress}.get(path.suffix, bytes)
    path.write_bytes(pack(rows.encode()))
    return path


@pytest.fixture(scope="module")
def expected(run: Path) -> dict[str, np.ndarray]:
    """One text at a time, no padding and no mask."""
    folder = run / "model"
    tokenizer = pretrained.load_tokenizer(folder)
    with saved.quiet():
        model = LeanformerModel.from_pretrained(folder).eval()
    found: dict[str, list] = {"mean": [], "cls": []}
    for text in TEXTS:
        ids = tokenizer(text, truncation=True, max_length=LENGTH)["input_ids"]
        with torch.no_grad():
            states = model(torch.tensor([ids])).last_hidden_state[0].numpy()
        found["mean"].append(states.mean(0))
        found["cls"].append(states[0])
    return {pooling: np.stack(vectors) for pooling, vectors in found.items()}


@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("name", ["a.txt", "a.txt.xz", "a.jsonl.gz", "a.jsonl"])
def test_a_line_is_a_vector_in_order(run, expected, tmp_path, name, pooling):
    out = tmp_path / "new" / "vectors.npy"
    summary = embed(run, [write(tmp_path, name)], out, pooling=pooling)
    assert summary == {"texts": len(TEXTS), "size": 22, "truncated": 1, "out": str(out)}
    np.testing.assert_allclose(np.load(out), expected[pooling], atol=2e-6)
    assert [path.name for path in out.parent.iterdir()] == ["vectors.npy"]


def test_every_format_holds_the_same(run, tmp_path, command):
    source = write(tmp_path, "a.txt")
    for suffix in ("npy", "safetensors", "jsonl"):
        status, out, _ = command("embed", run, source, source, "--out", tmp_path / f"v.{suffix}", "--threads", 1)
        assert status == 0 and "texts: 14" in out
    vectors = np.load(tmp_path / "v.npy")
    assert vectors.shape == (14, 22) and vectors.dtype == np.float32
    with safe_open(tmp_path / "v.safetensors", "numpy") as file:
        np.testing.assert_array_equal(file.get_tensor("embeddings"), vectors)
        assert file.metadata() == {"model": str(run), "pooling": "mean"}
    rows = [json.loads(line) for line in (tmp_path / "v.jsonl").read_text().splitlines()]
    assert [row["text"] for row in rows] == TEXTS * 2
    np.testing.assert_array_equal(np.array([row["embedding"] for row in rows], np.float32), vectors)


def test_mistakes_are_one_line(run, make_model, tmp_path):
    source = write(tmp_path, "a.txt")
    bare = make_model(tmp_path / "bare")
    for file in ("tokenizer.json", "tokenizer_config.json"):
        (bare / "model" / file).unlink()
    LeanformerForCausalLM(saved.config_of(run / "model")).save_pretrained(tmp_path / "decoder")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "decoder" / name).write_bytes((run / "model" / name).read_bytes())
    (tmp_path / "empty.txt").touch()
    out = tmp_path / "v.npy"
    cases = [
        ((run, [source], tmp_path / "v.bin"), {}, "the suffix says the format: .npy"),
        ((run, [source], out), {"pooling": "men"}, "did you mean 'mean'"),
        ((run, [source], out), {"max_length": 20}, "reads 4 to 19"),
        (
            (run, [write(tmp_path, "b.jsonl")], out),
            {"field": "body"},
            "line 1: no column 'body'; it has: text, id: name .* --field",
        ),
        ((run, [tmp_path / "empty.txt"], out), {}, "empty.txt: nothing in it"),
        ((bare, [source], out), {}, "holds no tokenizer"),
        ((tmp_path / "decoder", [source], out), {}, "holds a LeanformerForCausalLM, which is no encoder"),
    ]
    for arguments, options, message in cases:
        with pytest.raises((ValueError, OSError), match=message) as caught:
            embed(*arguments, **options)
        assert "\n" not in str(caught.value)
    assert not out.exists()
