"""What a trained model knows and does, asked without training it any further: docs/probes.md."""
