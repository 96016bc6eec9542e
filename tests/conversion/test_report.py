"""What `leanformer convert` tells of a conversion, and the texts it may be measured on."""

import json

import pytest
import torch

from leanformer import LeanformerForMaskedLM, LeanformerModel
from leanformer.conversion.convert import convert
from leanformer.data import tokenizer_files
from leanformer.data.tokenizer import train


def test_the_command_reports_before_and_after(tiny, sharp, data, text, tmp_path, command):
    tokenizer = tokenizer_files.load(data)
    model = sharp(LeanformerForMaskedLM(tiny(vocab_size=len(tokenizer) + 3)))
    model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    (tmp_path / "text.txt").write_text(text[:9_000], encoding="utf-8")
    cases = {
        "pairwise": ["--set", "attention_options.coefficients_init=identity"],
        "random": [],
        "factorized_random": ["--set", "attention_options.rank=3"],
        "random+dot_product": [],
    }
    found = {}
    for attention, options in cases.items():
        target = tmp_path / attention.replace("+", "_")
        arguments = ["--attention", attention, "--text", tmp_path / "text.txt", "--json", *options]
        status, out, err = command("convert", tmp_path / "model", target, *arguments)
        assert (status, err) == (0, "")
        assert json.loads(out) == json.loads((target / "conversion.json").read_text())
        found[attention] = json.loads(out)
        loaded = LeanformerForMaskedLM.from_pretrained(target)
        assert loaded.config.attention == attention
        assert loaded.num_parameters() == found[attention]["parameters_after"]
    pairwise, exact = found["pairwise"], found["random+dot_product"]
    assert pairwise["parameters_before"] == model.num_parameters() > pairwise["parameters_after"]
    assert pairwise["attention_options"] == {"coefficients_init": "identity"}
    assert pairwise["residuals_of"] == "logits on the text"
    assert len(pairwise["layers"]) == 2 and len(pairwise["heads"]) == 6
    assert all(0 < head["logits_residual"] < 1 and head["value_residual"] == 0 for head in pairwise["heads"])
    assert all(layer["divergence"] > 0 for layer in pairwise["layers"])
    assert exact["loss_after"] == pytest.approx(exact["loss_before"], abs=1e-6)
    assert max(layer["divergence"] for layer in exact["layers"]) < 1e-6
    status, out, _ = command("convert", tmp_path / "model", tmp_path / "weights", "--attention", "symmetric")
    assert status == 0 and "parameters after: " in out and "logits residual" in out
    status, out, err = command("convert", tmp_path / "model", tmp_path / "none", "--attention", "dense")
    assert (status, out) == (2, "") and err.count("\n") == 1 and not (tmp_path / "none").exists()


def test_a_headless_model_is_told_by_its_vectors(tiny, sharp, data, text, tmp_path):
    """One text per line; the report against the vectors of the two saved models."""
    tokenizer = tokenizer_files.load(data)
    sharp(LeanformerModel(tiny(vocab_size=len(tokenizer) + 3))).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    lines = [line[:60] for line in text.splitlines() if len(line) > 20][:50]
    (tmp_path / "text.txt").write_text("\n".join(lines), encoding="utf-8")
    report = convert(tmp_path / "model", tmp_path / "converted", attention="symmetric", text=tmp_path / "text.txt")
    assert not report.keys() & {"loss_before", "loss_after"} and report["texts"] == len(lines)
    pooled = []
    for place in ("model", "converted"):
        model = LeanformerModel.from_pretrained(tmp_path / place).eval()
        longest = model.config.max_position_embeddings
        ids = [tokenizer(line, truncation=True, max_length=longest, return_tensors="pt").input_ids for line in lines]
        with torch.no_grad():
            pooled.append(torch.cat([model(each)[0].mean(1) for each in ids]))
    cosine = torch.nn.functional.cosine_similarity(*pooled).mean()
    assert report["vectors_cosine"] == pytest.approx(float(cosine), abs=1e-4)
    assert 0 < report["vectors_spearman"] < 1
    assert all(head["logits_condition"] > 0 and head["value_condition"] > 0 for head in report["heads"])


def test_data_in_other_tokens_measure_nothing(tiny, data, text, tmp_path):
    other = tokenizer_files.wrap(train([text[:9_000]], "wordpiece", 150))
    LeanformerForMaskedLM(tiny(vocab_size=150)).save_pretrained(tmp_path / "model")
    other.save_pretrained(tmp_path / "model")
    with pytest.raises(ValueError, match="was prepared with another tokenizer than .*: give the text itself"):
        convert(tmp_path / "model", tmp_path / "converted", attention="symmetric", text=data)
    assert not (tmp_path / "converted").exists()
