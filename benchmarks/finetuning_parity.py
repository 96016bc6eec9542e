"""Fine-tuning of a real model here and by transformers' `Trainer`, with the same settings: are the scores the same?

    python benchmarks/finetuning_parity.py MODEL --task-data GLUE --out OUT --examples 2000 --epochs 2 --threads 1

MODEL is a folder of a BERT that transformers loads; leanformer's is converted from it, with equal outputs. Both start
from the same weights with a head of their own, read the same N training examples in equally many steps, and are scored
on the whole validation split of the task: AdamW with the same betas, epsilon and decay, a linear schedule with the same
warm-up, gradients clipped to the same norm, dropout as the model's config says, float32. What differs is random: the
order of the examples, dropout and the head's first values. So the scores of the seeds are two samples, and

    difference = mean(leanformer) - mean(Trainer),    with Welch's 95 % interval over seeds

is to be expected to hold zero. The same command continues where it was stopped:

    OUT/model/                     the converted model
    OUT/runs/seed-S/               leanformer's runs
    OUT/finetuning-parity.json     settings, versions, machine, a row per run, and the difference
"""

import argparse
import json
import statistics
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
import transformers
from scipy import stats

from leanformer.conversion.convert import convert
from leanformer.evaluation import metrics
from leanformer.evaluation.metrics import Predicted
from leanformer.files import write_json
from leanformer.finetuning.run import run_finetuning
from leanformer.finetuning.task_data import TaskData, load_task
from leanformer.settings import FinetuningSettings, TrainingSettings
from leanformer.training.machine.hardware import describe, prepare_cpu
from leanformer.training.run.record import versions

OURS, THEIRS = "leanformer", "Trainer"
RECORD = "finetuning-parity.json"


def main() -> None:
    options = arguments()
    prepare_cpu(options.threads)
    settings = settings_of(options)
    converted = options.out / "model"
    if not converted.exists():
        convert(options.model, converted)
    loaded = load_task(converted, options.task, options.task_data, settings)
    rows: list[dict[str, Any]] = continued(options.out / RECORD, settings)
    for seed in range(1, options.seeds + 1):  # systems are innermost, so that an incomplete record is balanced
        for system in (OURS, THEIRS):
            if any((row["system"], row["seed"]) == (system, seed) for row in rows):
                continue
            own = replace(settings, seed=seed)
            if system == OURS:
                row = ours(loaded, own, options.out / "runs" / f"seed-{seed}")
            else:
                row = theirs(options.model, loaded, own, steps=rows[-1]["steps"])
            rows.append({"system": system, "seed": seed, **row})
            write_json(options.out / RECORD, record(options, settings, loaded, rows))
            print(f"{system} seed {seed}: {row['score']:.4f}, {row['seconds']:.0f} s", flush=True)
    print(json.dumps(compared(rows)))


def settings_of(options: argparse.Namespace) -> FinetuningSettings:
    return FinetuningSettings(
        epochs=options.epochs,
        batch_size=options.batch_size,
        max_length=options.max_length,
        learning_rate=options.learning_rate,
        precision="fp32",
        threads=options.threads,
        max_train_examples=options.examples,
    )


def continued(path: Path, settings: FinetuningSettings) -> list[dict[str, Any]]:
    """Returns the rows that a record holds; ValueError if they were made with other settings."""
    if not path.is_file():
        return []
    before = json.loads(path.read_text(encoding="utf-8"))
    if before["settings"] != json.loads(json.dumps(asdict(settings))):
        raise ValueError(f"{path} was made with other settings: repeat them, or choose another --out")
    rows: list[dict[str, Any]] = before["rows"]
    return rows


def ours(loaded: TaskData, settings: FinetuningSettings, place: Path) -> dict[str, Any]:
    results = run_finetuning(loaded, settings, place, keep_model=False, quiet=True)["results"]
    return {key: results[key] for key in ("score", "steps", "seconds", "validation_loss")}


def theirs(model: Path, loaded: TaskData, settings: FinetuningSettings, steps: int) -> dict[str, Any]:
    """Fine-tunes transformers' class with `Trainer` on the same ids, in so many steps."""
    (split,) = loaded.validation
    train, validation = Rows(loaded.train), Rows(loaded.validation[split])
    transformers.set_seed(settings.seed)
    classes = len(loaded.task.labels)
    network = transformers.AutoModelForSequenceClassification.from_pretrained(
        model, num_labels=classes, trust_remote_code=False
    )
    common = TrainingSettings()
    with tempfile.TemporaryDirectory() as scratch:
        trainer = transformers.Trainer(
            network,
            transformers.TrainingArguments(
                scratch,
                max_steps=steps,
                per_device_train_batch_size=settings.batch_size,
                per_device_eval_batch_size=64,
                learning_rate=settings.learning_rate,
                weight_decay=settings.weight_decay,
                warmup_steps=round(settings.warmup * steps),
                lr_scheduler_type=settings.schedule,
                max_grad_norm=settings.clip_norm or 0.0,
                adam_beta1=common.beta1,
                adam_beta2=common.beta2,
                adam_epsilon=common.epsilon,
                seed=settings.seed,
                save_strategy="no",
                report_to=[],
                disable_tqdm=True,
                use_cpu=not torch.cuda.is_available(),
            ),
            train_dataset=train,
            data_collator=transformers.DataCollatorWithPadding(loaded.tokenizer),
        )
        started = time.perf_counter()
        trainer.train()
        seconds = time.perf_counter() - started
        found = trainer.predict(validation)
    predicted = {split: Predicted(found.label_ids, found.predictions.argmax(-1), None)}
    loss = torch.nn.functional.cross_entropy(torch.tensor(found.predictions), torch.tensor(found.label_ids))
    score = metrics.score(loaded.task, predicted)["score"]
    return {"score": score, "steps": steps, "seconds": seconds, "validation_loss": float(loss)}


class Rows(torch.utils.data.Dataset[dict[str, Any]]):
    """Encoded examples as `Trainer` reads them, one by one and without padding."""

    def __init__(self, encoded: Any) -> None:
        self.encoded = encoded

    def __len__(self) -> int:
        return len(self.encoded.labels)

    def __getitem__(self, row: int) -> dict[str, Any]:
        found: dict[str, Any] = {name: column[row] for name, column in self.encoded.columns.items()}
        return found | {"labels": int(self.encoded.labels[row])}


def record(
    options: argparse.Namespace, settings: FinetuningSettings, loaded: TaskData, rows: list[dict[str, Any]]
) -> dict[str, Any]:
    return {
        "schema": 1,
        "kind": "finetuning-parity",
        "model": options.model.name if options.name is None else options.name,
        "task": options.task,
        "train_examples": len(loaded.train.labels),
        "validation_examples": sum(len(part.labels) for part in loaded.validation.values()),
        "settings": asdict(settings),
        "versions": versions(),
        "hardware": describe(torch.device("cpu"), 1, torch.float32),
        "rows": rows,
        "compared": compared(rows),
    }


def compared(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns the means, the difference and Welch's interval; without the last two for fewer than two seeds each."""
    scores = {system: [row["score"] for row in rows if row["system"] == system] for system in (OURS, THEIRS)}
    found: dict[str, Any] = {system: statistics.fmean(values) for system, values in scores.items() if values}
    if min(map(len, scores.values())) < 2:
        return found
    found["difference"] = found[OURS] - found[THEIRS]
    if any(len(set(values)) > 1 for values in scores.values()):
        interval = stats.ttest_ind(scores[OURS], scores[THEIRS], equal_var=False).confidence_interval()
        found["interval"] = [float(interval.low), float(interval.high)]
    return found


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--task-data", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--task", default="sst2")
    parser.add_argument("--name", help="the model's name in the record (default: that of its folder)")
    parser.add_argument("--examples", type=int, default=2000)
    parser.add_argument("--epochs", type=float, default=2.0)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--max-length", type=int, default=64)
    parser.add_argument("--learning-rate", type=float, default=5e-5)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int)
    return parser.parse_args()


if __name__ == "__main__":
    main()
