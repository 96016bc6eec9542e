"""Evaluation of trained models: task metrics, held-out perplexity, generation and probes."""
