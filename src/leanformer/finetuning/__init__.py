"""Fine-tuning a pre-trained model on labelled tasks; methods/ holds what goes beyond plain fine-tuning."""
