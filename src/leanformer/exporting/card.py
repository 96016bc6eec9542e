"""The model card of an export: README.md, made from the run's record.

Its front matter is that of the Hugging Face hub. What the record does not say is said to be unknown, and the licence of
the model, which only its owner can give, is left out unless it is named.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

import leanformer.models as models
from leanformer import markup
from leanformer.attention import mechanism, mixer, mixers_of
from leanformer.exporting.source import Source
from leanformer.models import LeanformerConfig
from leanformer.models.bert_differences import bert_differences
from leanformer.models.saved import name_of

PIPELINES = {
    models.LeanformerForMaskedLM: "fill-mask",
    models.LeanformerForSequenceClassification: "text-classification",
    models.LeanformerForTokenClassification: "token-classification",
    models.LeanformerForQuestionAnswering: "question-answering",
    models.LeanformerForMultipleChoice: "multiple-choice",
    models.LeanformerForCausalLM: "text-generation",
    models.LeanformerForConditionalGeneration: "text-generation",
    models.LeanformerModel: "feature-extraction",
    models.LeanformerDecoder: "feature-extraction",
}
SENTENCES = ("attention", "attention_options", "block", "layer_sharing", "mixer")
"""Settings that the opening of the card names in sentences of their own."""
OBJECTIVES = {
    "masked_lm": "predicting masked tokens",
    "causal_lm": "predicting the next token",
    "seq2seq": "predicting the second text of a pair from the first",
}
SHOWN = (
    *("epochs", "batch_size", "sequence_length", "max_length", "mask_rate"),
    *("optimizer", "learning_rate", "warmup", "schedule", "weight_decay", "loss", "method"),
)
"""Settings that a card tells; run.json has all."""
UNKNOWN = "not known"
UNRECORDED = "It was exported from a saved model without the record of a run: how it was trained is not known."


def card(source: Source, name: str, use: str, tags: list[str], licence: str | None) -> str:
    """The text of README.md; `name` is the model's, `use` says in Markdown how this export is used."""
    record = source.record or {}
    sections = [
        f"# {markup.markdown(name)}",
        "\n".join(_opening(source)),
        f"## Use\n\n{use}",
        f"## Training\n\n{_history(source)}",
        f"## Size\n\n{_table(_size(source, record))}",
        f"## Results\n\n{_results(record)}",
        "## Limits\n\n" + "\n".join(f"- {limit}" for limit in _limits(source, record)),
    ]
    return f"---\n{_front_matter(source, name, tags, licence)}\n---\n\n" + "\n\n".join(sections) + "\n"


def _front_matter(source: Source, name: str, tags: list[str], licence: str | None) -> str:
    record = source.record or {}
    pipeline = PIPELINES[type(source.model)]
    scores = record.get("results", {}).get("metrics", {}) if record.get("kind") == "finetune" else {}
    results = [EvalResult(pipeline, record["task"], record["task"], metric, value) for metric, value in scores.items()]
    data = ModelCardData(
        license=licence,
        library_name="transformers" if source.parts is None else "sentence-transformers",
        pipeline_tag=pipeline if source.parts is None else "sentence-similarity",
        tags=["leanformer", *(f"attention:{name}" for name in source.mechanisms), *tags],
        model_name=name,
        eval_results=results or None,
    )
    return data.to_yaml().strip() + ("" if licence else "\n# license: for the owner of the model to fill in")


def _opening(source: Source) -> Iterator[str]:
    config, kind = source.config, type(source.model).__name__
    yield f"A `{kind}` made with leanformer: the blocks of BERT and BART, with a mechanism in the attention slot."
    for name in source.mechanisms if mixer(config.mixer).attends else []:
        yield f"Its attention is {markup.code(name)} ({mechanism(name).paper})."
    if options := config.attention_options | config.decoder_attention_options | config.cross_attention_options:
        yield f"Options of the attention: {markup.code(str(options))}."
    if config.block != "sequential":
        yield f"Its layers are blocks of the type {markup.code(config.block)}."
    if config.layer_sharing != "none":
        yield f"Its layers share weights or keys and values by the plan {markup.code(config.layer_sharing)}."
    if config.mixer != "attention":
        name, own = markup.code(config.mixer), markup.code(str(config.mixer_options))
        yield f"Its token mixer is {name} ({mixer(config.mixer).paper}), options {own}."
    if others := _architecture(config):
        yield f"Where BERT has another value: {', '.join(others)}."


def _architecture(config: LeanformerConfig) -> list[str]:
    """Returns the other settings of the architecture that differ from BERT's, and what says how they are meant."""
    values = {name: own for name, (own, _) in bert_differences(config).items() if name.split(".")[0] not in SENTENCES}
    if "shared_heads" in values:
        values["shared_heads"] = config.shared_heads["tie"] if config.shared_heads else None
    if config.positions == "rotary":
        values["rotary_base"] = config.rotary_base
    if config.sliding_window is not None:
        values["global_attn_every_n_layers"] = config.global_attn_every_n_layers
        if config.local_rotary_base is not None:
            values["local_rotary_base"] = config.local_rotary_base
    if config.hidden_act != "gelu":
        values["hidden_act"] = config.hidden_act
    return [f"{markup.code(name)} = {markup.code(str(value))}" for name, value in values.items()]


def _history(source: Source) -> str:
    if source.record:
        return _table(_training(source.record))
    return _table(_conversion(source.conversion)) if source.conversion else UNRECORDED


def _conversion(made: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "kind", f"converted to {markup.code(made['attention'])}, not trained since"
    yield (
        "source",
        f"{_name(made['source'])} ({markup.markdown(str(made['from']))}); {_weights(made.get('source_sha256'))}",
    )
    yield "training of the source", "not in this record"
    if "stored_blocks" in made:
        yield "heads stored", f"{made['stored_blocks']} of {made['head_blocks']} ({made['tie']})"
    if "parameters_before" in made:
        yield "parameters before and after", f"{made['parameters_before']:,}, {made['parameters_after']:,}"
    if "loss_before" in made:
        yield "masked-LM loss before and after", f"{made['loss_before']:.4f}, {made['loss_after']:.4f} nats"


def _training_rows(record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What a run began with, and who taught it."""
    if start := record.get("start"):
        yield "started from", f"{_name(start['path'])}; {_weights(start['sha256'])}"
    if teacher := record.get("teacher"):
        settings = record["settings"]["distillation"]
        shape = [markup.code(teacher["attention"])] if "attention" in teacher else []
        shape += [f"{_number(teacher['parameters'])} parameters"] if "parameters" in teacher else []
        yield "teacher", f"{', '.join([_name(teacher['path']), *shape])}; {_weights(teacher['sha256'])}"
        if record.get("kind") == "distill":  # by vectors of texts, which no masked tokens stand beside
            losses = {name: weight for name, weight in settings["vector_losses"].items() if weight}
            yield "taught by", f"its vectors of texts; weights of the losses {markup.code(str(losses))}"
            return
        method = markup.markdown(str(settings["method"]))
        yield "taught by", f"{method}; weight of masked tokens {settings['masked_lm_weight']}"
        if settings["anneal"]:
            yield "gradual path", f"from the teacher's attention, in the first {settings['anneal']:.0%} of the budget"
        if settings.get("share_heads"):
            yield "heads drawn together", f"{settings['share_heads']:.0%}, weight {settings['share_weight']}"


def _name(path: str) -> str:
    return markup.markdown(repr(name_of(path)))


def _weights(sha256: str | None) -> str:
    return f"weights with sha256 {markup.code(sha256)}" if sha256 else "the hash of its weights is not known"


def _training(record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    settings, data, results = record.get("settings", {}), record.get("data", {}), record.get("results") or {}
    training = settings.get("training") or settings.get("finetuning") or {}
    if record.get("kind") == "finetune":
        yield "kind", f"fine-tuned on {markup.markdown(str(record.get('task', UNKNOWN)))}"
        yield "pre-training", f"not in this record; {_weights(record.get('pretrained_hash'))}"
        yield "examples", _counts(data.get("examples"))
        if "corrected_labels" in results:
            yield "labels replaced", _number(results["corrected_labels"])
        if sparse := results.get("sparse"):
            yield "weights that are zero", f"{sparse['zeros']:,} of {sparse['weights']:,} in {sparse['maps']} maps"
    else:
        kind = OBJECTIVES.get(training.get("objective", ""), str(record.get("kind", UNKNOWN)))
        if record.get("kind") == "distill":
            kind = "distilled by the vectors of texts"
        elif record.get("teacher"):
            kind = f"distilled, and {kind}"
        yield "kind", kind
        yield from _training_rows(record)
        if "texts" in data:
            names = ", ".join(_name(path) for path in data.get("paths", []))
            yield "training data", f"{_number(data['texts'])} texts, {names}"
        else:
            corpus = markup.markdown(repr(Path(data.get("path", UNKNOWN)).name))
            yield "training data", f"{_number(data.get('train_tokens'))} tokens, {corpus}"
            yield "vocabulary", f"{_number(data.get('vocab_size'))} tokens"
        yield "tokens read", _number(results.get("tokens"))
    yield "what the data are", "their language, origin and licence are not in the record"
    yield "data sha256", _counts(data.get("hash"))
    yield "steps", _number(results.get("steps"))
    for key in SHOWN:
        if key in training:
            yield key.replace("_", " "), markup.markdown(str(training[key]))
    yield "seed", markup.markdown(str(record.get("seed", UNKNOWN)))
    machine, versions = record.get("hardware", {}), record.get("versions", {})
    where = machine.get("gpu") or machine.get("cpu") or UNKNOWN
    used = f"{where}, {machine.get('processes', 1)} process, {machine.get('precision', UNKNOWN)}"
    yield "hardware", markup.markdown(used)
    yield "seconds", _number(results.get("seconds"))
    yield "leanformer", f"{versions.get('leanformer', UNKNOWN)}, commit {versions.get('commit') or UNKNOWN}"
    yield "torch, transformers", f"{versions.get('torch', UNKNOWN)}, {versions.get('transformers', UNKNOWN)}"


def _size(source: Source, record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    config = source.config
    layers = mixers_of(source.model)
    yield "parameters", _number(source.model.num_parameters())
    yield "of them in attention", _number(sum(layer.num_params() for layer in layers))
    yield "layers, width, heads", f"{config.num_hidden_layers}, {config.hidden_size}, {config.num_attention_heads}"
    yield "longest sequence", f"{config.max_position_embeddings} tokens"
    flops = record.get("ledger", {}).get("flops_per_token", {})
    yield "FLOPs a token, forward", _number(flops.get("forward"))
    yield "FLOPs a token, training", _number(flops.get("training"))


def _results(record: Mapping[str, Any]) -> str:
    results = record.get("results") or {}
    rows = [
        (markup.markdown(f"{record.get('task', '')} {name}"), f"{value:.4f}")
        for name, value in results.get("metrics", {}).items()
    ]
    for split, found in (results.get("baselines") or {}).items():
        for system in found["systems"]:
            rows.append((markup.markdown(f"score, {split}: {system['system']}"), f"{system['score']:.4f}"))
    for name, value in (results.get("end") or {}).items():
        rows.append((f"{name} with the teacher's on held-out texts", f"{value:.4f}"))
    if "final_loss" in results:
        unit = "" if record.get("kind") == "distill" else ", nats"
        rows.append((f"validation loss at the end{unit}", f"{results['final_loss']:.4f}"))
        floor = (record.get("floor") or {}).get("context_free")
        if unit:
            rows.append(("the no-context baseline, nats", UNKNOWN if floor is None else f"{floor:.4f}"))
    if results.get("examples"):
        rows.append(("validation examples", _number(results["examples"])))
    if not rows:
        return "No result is recorded."
    return _table(iter(rows)) + "\n\nOne run with one seed: the spread over seeds is not known."


def _limits(source: Source, record: Mapping[str, Any]) -> Iterator[str]:
    yield f"Longer sequences than {source.config.max_position_embeddings} tokens are refused."
    yield "Languages, domains and tasks other than those of its data have not been measured."
    yield "Biases, toxicity and what it repeats of its training data have not been measured."
    final, floor = (record.get("results") or {}).get("final_loss"), (record.get("floor") or {}).get("context_free")
    if final is not None and floor is not None and final >= floor:
        yield "**Its loss is not below the no-context baseline: it has learned nothing from context.**"
    if (record.get("results") or {}).get("collapsed"):
        yield "**It gives the same answer to almost everything: this fine-tuning has collapsed.**"


def _counts(counts: Any) -> str:
    if isinstance(counts, Mapping):
        return ", ".join(f"{markup.markdown(str(name))} {_number(value)}" for name, value in counts.items())
    return _number(counts)


def _number(value: Any) -> str:
    return UNKNOWN if value is None else f"{value:,.0f}" if isinstance(value, int | float) else markup.code(str(value))


def _table(rows: Iterator[tuple[str, str]]) -> str:
    return "\n".join(["| | |", "|---|---|", *(f"| {markup.cell(key)} | {markup.cell(value)} |" for key, value in rows)])
