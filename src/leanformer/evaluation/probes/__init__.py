"""Probes of a trained model, which need no further training: docs/probes.md."""
