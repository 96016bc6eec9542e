"""Methods other than plain fine-tuning: weights of examples, corrected labels, bounded distances, sparse weights."""
