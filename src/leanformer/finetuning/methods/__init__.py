"""Fine-tuning other than plain: weights of examples, labels that are mended, bounds, and sparse weights."""
