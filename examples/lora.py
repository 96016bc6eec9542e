"""Fine-tune a pre-trained model with LoRA on a dozen sentences, and save the merged model:

    python examples/lora.py RUN/model OUT

This example needs `pip install -e ".[peft]"`. The adapted maps depend on the mechanism;
`leanformer.lora_targets(config)` returns their names.
"""

import os
import sys

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForSequenceClassification, AutoTokenizer

import leanformer

STEPS = int(os.environ.get("LEANFORMER_EXAMPLE_STEPS", 60))
GOOD = [
    "a lovely walk",
    "what a fine dinner",
    "she was happy",
    "they were kind",
    "a good friend",
    "he laughed with joy",
]
BAD = [
    "a dreadful walk",
    "what a poor dinner",
    "she was sad",
    "they were cruel",
    "a false friend",
    "he wept with grief",
]

pretrained, out = sys.argv[1:]
tokenizer = AutoTokenizer.from_pretrained(pretrained, trust_remote_code=False, split_special_tokens=True)
model = AutoModelForSequenceClassification.from_pretrained(
    pretrained, id2label={0: "bad", 1: "good"}, label2id={"bad": 0, "good": 1}, trust_remote_code=False
)
targets = leanformer.lora_targets(model.config)
print("adapts", ", ".join(targets))
lora = LoraConfig(r=8, task_type="SEQ_CLS", target_modules=targets, modules_to_save=["classifier", "pooler"])
model = get_peft_model(model, lora)
model.print_trainable_parameters()

batch = dict(tokenizer(BAD + GOOD, padding=True, return_tensors="pt"))
labels = torch.tensor([0] * len(BAD) + [1] * len(GOOD))
optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=3e-3)
for step in range(1, STEPS + 1):
    loss = model(**batch, labels=labels).loss
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 20 == 0 or step == STEPS:
        print(f"step {step}: loss {loss.item():.3f}")

model.merge_and_unload().save_pretrained(out)
tokenizer.save_pretrained(out)
print(f"next: leanformer predict {out} FILE")
