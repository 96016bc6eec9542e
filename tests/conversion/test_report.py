"""What `leanformer convert` tells of a conversion, and the texts it may be measured on."""

import json

import pytest

from leanformer import LeanformerForMaskedLM
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


def test_data_in_other_tokens_measure_nothing(tiny, data, text, tmp_path):
    other = tokenizer_files.wrap(train([text[:9_000]], "wordpiece", 150))
    LeanformerForMaskedLM(tiny(vocab_size=150)).save_pretrained(tmp_path / "model")
    other.save_pretrained(tmp_path / "model")
    with pytest.raises(ValueError, match="was prepared with another tokenizer than .*: give the text itself"):
        convert(tmp_path / "model", tmp_path / "converted", attention="symmetric", text=data)
    assert not (tmp_path / "converted").exists()
