"""A sentence-transformers model stays one: its parts come along, and its vectors are the original's."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from leanformer.conversion.attention.sample import Sample
from leanformer.conversion.checkpoints.tokenizer import read_tokenizer
from leanformer.conversion.convert import convert
from leanformer.interface.embed import embed
from leanformer.models.sentence_parts import MODULES, sentence_parts
from leanformer.models.sentence_pooling import sentence_pooling

library = pytest.importorskip("sentence_transformers")
from sentence_transformers.sentence_transformer import modules  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
TEXTS = ["the old house by the river", "", "nobody .", "The [MASK] had lived for years, where?", "years " * 40]


@pytest.fixture(scope="module", autouse=True)
def seeded():
    with torch.random.fork_rng():
        torch.manual_seed(5)
        yield


def dense(inner, outer, activation, **options):
    return modules.Dense(inner, outer, activation_function=activation, **options)


CASES = {
    "mean": lambda: ((modules.Pooling(30, "mean"), modules.Normalize()), {"max_length": 11}),
    "lower case": lambda: ((modules.Pooling(30, "cls"),), {"lower_case": True}),
    "a prompt that is not pooled": lambda: (
        (
            modules.Pooling(30, ("cls", "max", "mean"), include_prompt=False),
            dense(90, 13, torch.nn.Tanh(), use_residual=True),
        ),
        {
            "prompts": {"query": "query : ", "document": "[MASK] the old "},
            "default_prompt_name": "query",
            "similarity_fn_name": "dot",
        },
    ),
    "weights and last tokens": lambda: (
        (
            modules.Pooling(30, ("weightedmean", "lasttoken", "mean_sqrt_len_tokens")),
            modules.LayerNorm(90),
            dense(90, 90, None, bias=False, use_residual=True),
            modules.Dropout(0.5),
            modules.Normalize(),
        ),
        {},
    ),
}


def encoder(folder):
    return library.SentenceTransformer(str(folder), device="cpu", trust_remote_code=False)


def vectors(model, **prompt):
    return model.encode(TEXTS, show_progress_bar=False, **prompt)


@pytest.mark.parametrize("name", CASES)
def test_every_part_comes_along(name, sentence_model, tmp_path):
    parts, settings = CASES[name]()
    source = sentence_model(*parts, **settings)
    original = encoder(source)
    assert convert(source, tmp_path / "ours")["notes"] == []
    kept = encoder(tmp_path / "ours")
    assert kept.max_seq_length == original.max_seq_length == settings.get("max_length", 23)
    assert (kept.prompts, kept.default_prompt_name) == (original.prompts, original.default_prompt_name)
    assert kept.similarity_fn_name == original.similarity_fn_name
    assert [type(part) for part in kept][1:] == [type(part) for part in original][1:]
    for prompt in [None, *original.prompts]:
        expected = vectors(original, prompt_name=prompt)
        np.testing.assert_allclose(vectors(kept, prompt_name=prompt), expected, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(embed(tmp_path / "ours", TEXTS, prompt=prompt), expected, rtol=1e-6, atol=2e-6)
    convert(tmp_path / "ours", tmp_path / "bert", to="bert")
    np.testing.assert_allclose(vectors(encoder(tmp_path / "bert")), vectors(original), rtol=1e-6, atol=1e-6)


@pytest.fixture(scope="module")
def plain(sentence_model):
    return sentence_model(modules.Pooling(30, "mean"), dense(30, 7, torch.nn.Tanh()), modules.Normalize())


def test_the_command_line_overrides_the_parts(plain, tmp_path, command):
    convert(plain, tmp_path / "ours")
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS))
    run = ("embed", tmp_path / "ours", tmp_path / "texts.txt", "--out")
    assert command(*run, tmp_path / "own.npy")[0] == command(*run, tmp_path / "max.npy", "--pooling", "max")[0] == 0
    assert np.load(tmp_path / "own.npy").shape == (5, 7)
    np.testing.assert_allclose(np.linalg.norm(np.load(tmp_path / "own.npy"), axis=1), 1, atol=1e-6)
    states = encoder(plain).encode(TEXTS, output_value="token_embeddings", show_progress_bar=False)
    expected = np.stack([state.amax(0).numpy() for state in states])
    np.testing.assert_allclose(np.load(tmp_path / "max.npy"), expected, rtol=1e-6, atol=2e-6)
    status, _, err = command(*run, tmp_path / "no.npy", "--prompt", "querry")
    assert status == 2 and "--prompt querry" in err and "has no such prompt; did you mean 'query'?" in err


def test_the_bare_encoder_leaves_the_parts_behind_and_says_so(plain, tmp_path):
    assert convert(plain, tmp_path / "ours", encoder_only=True)["notes"][-1] == (
        "left behind: the parts of sentence-transformers (modules.json)"
    )
    assert sentence_parts(tmp_path / "ours") is None
    assert embed(tmp_path / "ours", TEXTS).shape == (5, 30)


def test_old_files_are_read(plain, tmp_path):
    """Names and switches as sentence-transformers 2 wrote them, and no folder for a part without settings."""
    source = tmp_path / "old"
    shutil.copytree(plain, source)
    rows = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        {"idx": 2, "name": "2", "path": "3_Normalize", "type": "sentence_transformers.models.Normalize"},
    ]
    (source / MODULES).write_text(json.dumps(rows))
    shutil.rmtree(source / "3_Normalize")
    switches = {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False, "pooling_mode_max_tokens": True}
    (source / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": 30} | switches))
    (source / "sentence_bert_config.json").unlink()
    (source / "sentence_roberta_config.json").write_text(json.dumps({"max_seq_length": 9, "do_lower_case": False}))
    convert(source, tmp_path / "ours")
    kept, expected = encoder(tmp_path / "ours"), vectors(encoder(source))
    assert kept.max_seq_length == 9 and expected.shape == (5, 60)
    np.testing.assert_allclose(vectors(kept), expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(embed(tmp_path / "ours", TEXTS), expected, rtol=1e-6, atol=2e-6)


def pickled(folder):
    weights = folder / "2_Dense" / "model.safetensors"
    weights.rename(weights.with_name("pytorch_model.bin"))


def entry(number, **changes):
    def change(folder):
        rows = json.loads((folder / MODULES).read_text())
        rows[number] |= changes
        (folder / MODULES).write_text(json.dumps(rows))

    return change


def unweighted(folder):
    (folder / "2_Dense" / "model.safetensors").unlink()


REFUSED = {
    "no weights, as of a pickle on the hub": (
        unweighted,
        "2_Dense holds no weights of its Dense, or a model on the hub",
    ),
    "pickle": (pickled, "2_Dense/pytorch_model.bin is a pickle, .* save_pretrained it, which writes safetensors"),
    "code": (
        entry(2, type="custom.Dense"),
        "names custom.Dense, which is not of .* leave the parts behind by leanformer convert",
    ),
    "elsewhere": (entry(0, path="0_Transformer"), "does not begin with the transformer .* lies in 0_Transformer"),
    "outside": (entry(1, path="../1_Pooling"), "leads out of"),
    "damaged": (lambda folder: (folder / MODULES).write_text("[{}]"), "modules.json, entry 1, is damaged"),
    "prompt": (
        lambda folder: (folder / "config_sentence_transformers.json").write_text('{"default_prompt_name": "q"}'),
        "default_prompt_name = 'q' is none of its prompts",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_come_along_is_refused(name, plain, tmp_path):
    change, message = REFUSED[name]
    shutil.copytree(plain, tmp_path / "theirs")
    change(tmp_path / "theirs")
    with pytest.raises(ValueError, match=message):
        convert(tmp_path / "theirs", tmp_path / "ours")
    assert not (tmp_path / "ours").exists()
    convert(tmp_path / "theirs", tmp_path / "bare", encoder_only=True)


def test_a_part_that_embed_cannot_follow_is_named_and_comes_along(sentence_model, tmp_path):
    source = sentence_model(modules.Pooling(30, "mean"), dense(30, 7, torch.nn.Tanh()))
    entry(2, type="sentence_transformers.models.CNN")(source)
    convert(source, tmp_path / "ours")
    with pytest.raises(
        ValueError, match="has CNN among its .* or leave the parts behind by leanformer convert with --enc"
    ):
        embed(tmp_path / "ours", TEXTS)
    assert embed(tmp_path / "ours", TEXTS, pooling="mean").shape == (5, 30)
    assert (tmp_path / "ours" / "2_Dense" / "model.safetensors").is_file()


def test_a_part_that_was_changed_on_disk_is_noticed(plain, tmp_path):
    convert(plain, tmp_path / "ours")
    path = tmp_path / "ours" / "2_Dense" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    with pytest.raises(ValueError, match="model.safetensors is damaged, its sha256 is not the one in SHA256SUMS"):
        embed(tmp_path / "ours", TEXTS)


DAMAGED = {
    "another width": (
        "2_Dense/config.json",
        {"in_features": 31, "out_features": 7},
        "2_Dense/config.json describes a Dense of vectors of 31 numbers, and those before it have 30: copy or download",
    ),
    "no length": ("tokenizer_config.json", {"model_max_length": "many"}, "tokenizer_config.json is damaged"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_settings_that_fit_no_other_part_are_refused(name, plain, tmp_path):
    file, changes, message = DAMAGED[name]
    folder = tmp_path / "ours"
    convert(plain, folder)
    (folder / file).write_text(json.dumps(json.loads((folder / file).read_text()) | changes))
    (folder / "sentence_bert_config.json").write_text("{}")
    if name == "another width":
        weights = {"linear.weight": torch.zeros(7, 31), "linear.bias": torch.zeros(7)}
        save_file(weights, folder / "2_Dense" / "model.safetensors")
        (folder / "2_Dense" / "SHA256SUMS").unlink()
    with pytest.raises(ValueError, match=message):
        sentence_pooling(sentence_parts(folder), 30) if name == "another width" else sentence_parts(folder).max_length(
            29
        )


def test_a_dense_part_whose_weights_are_missing_is_refused(plain, tmp_path):
    convert(plain, tmp_path / "ours")
    (tmp_path / "ours" / "2_Dense" / "model.safetensors").unlink()
    (tmp_path / "ours" / "2_Dense" / "SHA256SUMS").unlink()
    with pytest.raises(
        ValueError, match="2_Dense/model.safetensors does not hold the weights of its Dense .* download"
    ):
        embed(tmp_path / "ours", TEXTS)


def test_the_sample_of_a_conversion_reads_texts_as_the_parts_say(sentence_model, tmp_path):
    """In lower case, behind the default prompt and cut to the parts' length: the ids of sentence-transformers."""
    settings = {"prompts": {"query": "Query : [MASK] "}, "default_prompt_name": "query"}
    source = sentence_model(modules.Pooling(30, "mean"), lower_case=True, max_length=9, **settings)
    texts = ["The OLD house", "nobody", "years " * 40]
    (tmp_path / "texts.txt").write_text("\n".join(texts))
    words = read_tokenizer(source, "BertTokenizer", tmp_path / "texts.txt")
    sample = Sample(tmp_path / "texts.txt", words, 23, packed=False, parts=sentence_parts(source))
    found = sorted(row.tolist() for rows in sample.batches for row in rows.kept(rows.ids).split(rows.lengths.tolist()))
    original = encoder(source)
    expected = [original.tokenize(["Query : [MASK] " + text])["input_ids"][0].tolist() for text in texts]
    assert found == sorted(expected) and sample.length == 9 == max(map(len, found))
    assert convert(source, tmp_path / "ours", attention="pairwise", text=tmp_path / "texts.txt")["sequence_length"] == 9
