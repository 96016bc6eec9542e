"""Protocols behind the results: run from the root of the repository."""
