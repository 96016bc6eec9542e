"""Run by path in a process that cannot import leanformer: what users of exports do.

python -I without_leanformer.py STRANGER.py FOLDER    FOLDER/NAME/{export,inputs.safetensors}, one a model
"""

import importlib.util
import sys
from pathlib import Path

spec = importlib.util.spec_from_file_location("standalone_check", sys.argv[1])
standalone_check = importlib.util.module_from_spec(spec)
spec.loader.exec_module(standalone_check)
sys.meta_path.insert(0, standalone_check.Absent)

import torch  # noqa: E402
import transformers  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()


def load(folder, auto_class):
    return getattr(transformers, auto_class).from_pretrained(folder, trust_remote_code=True)


def encoder_of(model):
    return model if type(model).__name__ == "LeanformerModel" else model.encoder


for case in sorted(Path(sys.argv[2]).iterdir()):
    inputs = load_file(case / "inputs.safetensors")
    config = transformers.AutoConfig.from_pretrained(case / "export", trust_remote_code=True)
    kind = config.architectures[0]
    own = next(name for name, ours in config.auto_map.items() if ours.endswith(f".{kind}"))
    model = load(case / "export", own)
    assert type(model.config).__module__ == type(model).__module__, "config and model are of two copies of the code"
    found = standalone_check.answers(model, inputs)
    if hasattr(model, "generate") and kind.endswith(("CausalLM", "Generation")):
        found["generated"] = model.generate(inputs["input_ids"][:1], max_new_tokens=5, do_sample=False)
    if kind == "LeanformerForMaskedLM":
        model.save_pretrained(case / "again")
        again = standalone_check.answers(load(case / "again", own), inputs)
        torch.testing.assert_close(again["logits"], found["logits"], rtol=0, atol=0)
        states = standalone_check.answers(model.encoder, inputs)["last_hidden_state"]
        for folder in ("export", "again"):
            for name in config.auto_map.keys() - {"AutoConfig"}:
                same = standalone_check.answers(encoder_of(load(case / folder, name)), inputs)["last_hidden_state"]
                torch.testing.assert_close(same, states, rtol=0, atol=0, msg=f"{name} of {folder}")
    tokenizer = transformers.AutoTokenizer.from_pretrained(case / "export")
    found["tokens"] = torch.tensor(tokenizer(standalone_check.SENTENCE)["input_ids"])
    save_file(found, case / "outputs.safetensors")
