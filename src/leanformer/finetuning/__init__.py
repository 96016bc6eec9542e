"""Fine-tuning of a pre-trained model on labelled tasks; methods/ holds methods other than plain fine-tuning."""
