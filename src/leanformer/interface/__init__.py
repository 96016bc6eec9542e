"""The functions of `import leanformer` and what they return; the command line calls the same functions."""
