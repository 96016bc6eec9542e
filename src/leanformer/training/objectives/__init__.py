"""Pre-training objectives that the training loop calls: masked LM, causal LM and sequence to sequence."""
