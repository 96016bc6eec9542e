"""Exports for the hub, read where leanformer cannot be imported."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from leanformer.attention import load_plugin
from leanformer.attention.plugins import forgotten
from leanformer.exporting import hub, standalone_check
from leanformer.exporting.export import export
from leanformer.exporting.flatten import LICENCE, flatten
from leanformer.exporting.source import open_source, sample

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "add-a-mechanism.md").read_text()
PLUGIN, BLOCK = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)[:2]
CASES = {
    "dot_product": {},
    "pairwise": {"attention": "pairwise", "norm": "pre", "feed_forward": "gated", "biases": False},
    "shared": {"attention": "shared", "type_vocab_size": 0},
    "shared_heads": {"attention": "symmetric", "shared_heads": {"tie": "qkvo", "blocks": [[0, 1, 2], [3, 0, 1]]}},
    "shared_attention": {"layer_sharing": "attention"},
    "shared_keys_and_values": {"layer_sharing": "kv:2"},
    "narrow_embeddings": {"embedding_size": 13},
    "mixture": {"attention": "random+dot_product"},
    "phased": {"attention": "phased"},
    "plugin": {"attention": "bilinear"},
    "block": {"attention": "bilinear", "block": "parallel", "norm": "pre"},
    "convolution": {"attention": "pairwise", "mixer": "convolution", "feed_forward_groups": 3, "intermediate_size": 36},
    "clusters": {"mixer": "clusters", "mixer_options": {"scales": 2}},
    "fourier": {"mixer": "fourier"},
    "gmlp": {"mixer": "gmlp", "mixer_options": {"tiny_attention": 8}, "block": "mixing_only", "norm": "pre"},
    "simplified": {"mixer": "shaped", "block": "simplified", "norm": "pre", "attention": "pairwise"},
    "shaped_decoder": {
        "kind": "LeanformerForCausalLM",
        "mixer": "shaped",
        "block": "simplified_parallel",
        "norm": "pre",
    },
    "sequences": {"kind": "LeanformerForSequenceClassification", "attention": "symmetric"},
    "tokens": {"kind": "LeanformerForTokenClassification", "attention": "factorized_dense"},
    "spans": {"kind": "LeanformerForQuestionAnswering", "positions": "rotary"},
    "choices": {"kind": "LeanformerForMultipleChoice", "attention": "random+pairwise"},
    "bare": {"kind": "LeanformerModel", "attention": "fixed_random"},
    "decoder": {"kind": "LeanformerForCausalLM", "attention": "dense+dot_product"},
    "bare_decoder": {"kind": "LeanformerDecoder"},
    "pairs": {"kind": "LeanformerForConditionalGeneration", "attention": "shared", "is_encoder_decoder": True},
}


def isolated(script, *arguments, modules):
    """A process without this directory and PYTHONPATH, and with a cache of its own."""
    own = {"HF_MODULES_CACHE": str(modules), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-I", *map(str, (script, *arguments))]
    return subprocess.run(command, env=os.environ | own, capture_output=True, text=True)


@pytest.fixture(scope="module")
def plugin(tmp_path_factory):
    file = tmp_path_factory.mktemp("plugin") / "bi-linear.py"
    file.write_text(PLUGIN)
    block = file.with_name("parallel.py")
    block.write_text(BLOCK)
    with forgotten():
        load_plugin(file)
        load_plugin(block)
        yield file


@pytest.fixture(scope="module")
def answered(saved, plugin, tmp_path_factory):
    """For every case (what the model answers here, what its export answered in a process without leanformer)."""
    folder, expected = tmp_path_factory.mktemp("exports"), {}
    for name, settings in CASES.items():
        source, case = open_source(saved(**settings)), folder / name
        (case / "export").mkdir(parents=True)
        hub.write(source, case / "export", name)
        inputs = sample(source.config, source.model, 3, 11)
        save_file(inputs, case / "inputs.safetensors")
        expected[name] = standalone_check.answers(source.model, inputs)
        expected[name]["tokens"] = torch.tensor(source.tokenizer(standalone_check.SENTENCE)["input_ids"])
        if name in ("decoder", "pairs", "shaped_decoder"):
            ids = inputs["input_ids"][:1]
            expected[name]["generated"] = source.model.generate(ids, max_new_tokens=5, do_sample=False)
    script = Path(__file__).with_name("without_leanformer.py")
    ran = isolated(script, standalone_check.__file__, folder, modules=folder.with_name("modules"))
    assert ran.returncode == 0, ran.stderr[-3000:]
    return {name: (expected[name], load_file(folder / name / "outputs.safetensors")) for name in CASES}


@pytest.mark.parametrize("name", CASES)
def test_an_export_answers_as_the_model_does_where_leanformer_is_unknown(answered, name):
    expected, found = answered[name]
    assert found.keys() == expected.keys()
    for key, tensor in expected.items():
        torch.testing.assert_close(found[key], tensor, rtol=1e-6, atol=1e-6)


def test_the_command_checks_what_it_writes(command, saved, tmp_path):
    status, out, err = command("export", saved(), tmp_path / "out", "--json")
    assert status == 0, err
    told = json.loads(out)
    assert told["format"] == "hub" and told["difference"] <= 1e-6
    files = {file.name for file in (tmp_path / "out").iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "LICENSE.leanformer"} < files
    known = (".py", ".json", ".safetensors", ".md", ".leanformer", "SHA256SUMS")
    assert not [file for file in files if not file.endswith(known)]
    assert list(tmp_path.iterdir()) == [tmp_path / "out"], "something else was left"
    maps = json.loads((tmp_path / "out" / "config.json").read_text())["auto_map"]
    heads = {"MaskedLM", "SequenceClassification", "TokenClassification", "QuestionAnswering", "MultipleChoice"}
    heads |= {"PreTraining", "TextEncoding"}
    assert set(maps) == {"AutoConfig", "AutoModel", *(f"AutoModelFor{head}" for head in heads)}
    again = command("export", saved(), tmp_path / "out")
    assert again[0] == 2 and "exists already: name a new directory" in again[2]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("from .leanformer_spelling", "from leanformer.spelling", "No module named 'leanformer"),
        ("query * self.scale", "query * 1.1 * self.scale", "differs by .* in logits: nothing was written"),
    ],
)
def test_an_export_that_fails_its_check_leaves_nothing(saved, tmp_path, monkeypatch, old, new, message):
    broken = {name: text.replace(old, new) for name, text in flatten().items()}
    monkeypatch.setattr(hub, "flatten", lambda plugins: broken)
    with pytest.raises(ValueError, match=message):
        export(saved(), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_the_code_is_what_models_reach_and_no_more():
    files = flatten()
    assert "leanformer_attention_mechanisms_shared.py" in files and "modeling_leanformer.py" in files
    idle = ("testing", "hub", "convert", "cost", "inference", "int8_linear", "memory", "names", "checkpoint_files")
    assert not [name for name in files if name.removesuffix(".py").endswith(idle)]
    for name, text in files.items():
        assert "MIT License" in text.splitlines()[1], name
        compile(text, name, "exec")


def test_the_licence_is_the_repository_s():
    assert LICENCE.read_text() == (ROOT / "LICENSE").read_text()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("from leanformer.data import tasks", "imports leanformer.data"),
        ("import einops", "imports einops, which a machine without leanformer may not have"),
        ("from .beside import x", "imports relatively"),
        ("import leanformer.attention.logits\nleanformer.attention.logits", "modules by their full names"),
    ],
)
def test_a_plugin_that_cannot_come_along_is_refused(tmp_path, line, message):
    file = tmp_path / "mine.py"
    file.write_text(f"import torch\n{line}\n")
    with pytest.raises(ValueError, match=rf"mine.py: line 2 .*|{message}") as error:
        flatten([file])
    assert message in str(error.value) or "uses modules" in str(error.value)


def test_a_plugin_may_import_modules(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("def f():\n    from leanformer.attention import logits as of, Heads\n    return of, Heads\n")
    lines = flatten([file])["leanformer_plugin_mine.py"].splitlines()
    assert lines[3:6] == [
        "    from .leanformer_attention import Heads",
        "    from .leanformer_attention_logits import __name__ as _",
        "    from . import leanformer_attention_logits as of",
    ]


def test_what_is_no_model_is_refused(saved, tmp_path, command):
    folder = saved()
    (tmp_path / "pickled").mkdir()
    shutil.copy(folder / "config.json", tmp_path / "pickled")
    torch.save({}, tmp_path / "pickled" / "pytorch_model.bin")
    with pytest.raises(ValueError, match="pytorch_model.bin is a pickle, .* save_pretrained it, which writes"):
        export(tmp_path / "pickled", tmp_path / "out")
    config = json.loads((folder / "config.json").read_text()) | {"architectures": ["LeanformerForMaskLM"]}
    (tmp_path / "pickled" / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="did you mean 'LeanformerForMaskedLM'"):
        export(tmp_path / "pickled", tmp_path / "out")
    status, _, err = command("export", folder, tmp_path / "out", "--format", "onxx")
    assert status == 2 and "did you mean 'onnx'" in err
