"""Training: one loop for pre-training and fine-tuning, exact resume, records of what was done."""
