"""The peers of transformers: a masked LM, `Trainer` and `DataCollatorForLanguageModeling`, as its examples use them.

Stock but for the collator's coin tosses, which are replaced by leanformer's masks. ModernBERT has gated feed-forward
layers of three matrices; they are two thirds as wide, so that its products cost what BERT's cost.
"""

import tempfile
from collections.abc import Callable
from typing import Any

import torch
import transformers
from accelerate.state import AcceleratorState
from transformers import PreTrainedModel

from leanformer.bench.entry import CLIP, RATE, SEED, Benchmark, Clock, masked
from leanformer.bench.sizes import dropouts


def bert(benchmark: Benchmark) -> PreTrainedModel:
    return transformers.BertForMaskedLM(transformers.BertConfig(**(_sizes(benchmark) | dropouts(benchmark.dropout))))


def modernbert(benchmark: Benchmark) -> PreTrainedModel:
    return transformers.ModernBertForMaskedLM(_modern(benchmark))


def modernbert_sparse(benchmark: Benchmark) -> PreTrainedModel:
    """Its scores only where something is masked, an option that is off by default."""
    return transformers.ModernBertForMaskedLM(_modern(benchmark, sparse_prediction=True))


def _modern(benchmark: Benchmark, **more: Any) -> transformers.ModernBertConfig:
    corpus, sizes = benchmark.corpus, _sizes(benchmark)
    sizes["intermediate_size"] = round(sizes["intermediate_size"] * 2 / 3 / 8) * 8
    ends = {"cls_token_id": corpus.cls_id, "bos_token_id": corpus.cls_id}
    ends |= {"sep_token_id": corpus.sep_id, "eos_token_id": corpus.sep_id}
    rates = {name: benchmark.dropout for name in ("attention_dropout", "embedding_dropout", "mlp_dropout")}
    return transformers.ModernBertConfig(**(sizes | ends | rates | more))


def _sizes(benchmark: Benchmark) -> dict[str, Any]:
    own = {
        "vocab_size": benchmark.vocab_size,
        "pad_token_id": benchmark.corpus.pad_id,
        "max_position_embeddings": benchmark.length,
    }
    return {**benchmark.sizes, **own}


class SameMasks(transformers.DataCollatorForLanguageModeling):
    """The stock collator with leanformer's masks."""

    benchmark: Benchmark

    def __call__(self, features: list[dict[str, Any]], return_tensors: str | None = None) -> dict[str, Any]:
        self.examples = [feature.pop("example") for feature in features]
        return super().__call__(features, return_tensors)

    def torch_mask_tokens(self, inputs: torch.Tensor, *_: Any, **__: Any) -> tuple[torch.Tensor, torch.Tensor]:
        return masked(inputs.numpy(), self.examples, self.benchmark)


class Ticks(transformers.TrainerCallback):
    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.clock.step(state.global_step)


def turn(benchmark: Benchmark, build: Callable[[Benchmark], PreTrainedModel], bf16: bool) -> float:
    """Seconds of the counted steps."""
    return train(benchmark, build, bf16)[1]


def train(
    benchmark: Benchmark, build: Callable[[Benchmark], PreTrainedModel], bf16: bool, **arguments: Any
) -> tuple[PreTrainedModel, float]:
    """The model after all steps, and the seconds of the counted ones; `arguments` replace Trainer's own."""
    transformers.logging.set_verbosity_error()
    AcceleratorState._reset_state(True)  # or the last candidate's precision would be inherited
    torch.manual_seed(SEED)
    model = build(benchmark)
    collator = SameMasks(
        tokenizer=transformers.AutoTokenizer.from_pretrained(benchmark.corpus.path, trust_remote_code=False),
        mlm=True,
        mlm_probability=benchmark.mask_rate,
    )
    collator.benchmark = benchmark
    clock = Clock(benchmark)
    with tempfile.TemporaryDirectory() as folder:
        stated: dict[str, Any] = {
            "output_dir": folder,
            "max_steps": benchmark.all_steps,
            "per_device_train_batch_size": benchmark.batch,
            "learning_rate": RATE,
            "max_grad_norm": CLIP,
            "use_cpu": benchmark.device.type == "cpu",
            "bf16": bf16,
            "torch_compile": benchmark.compile,
            "remove_unused_columns": False,
            "save_strategy": "no",
            "logging_strategy": "no",
            "report_to": "none",
            "disable_tqdm": True,
            "train_sampling_strategy": "sequential",
        }
        chosen = transformers.TrainingArguments(**(stated | arguments))
        trainer = transformers.Trainer(
            model, chosen, data_collator=collator, train_dataset=benchmark.examples, callbacks=[Ticks(clock)]
        )
        trainer.remove_callback(transformers.PrinterCallback)
        trainer.train()
    return model, clock.seconds
