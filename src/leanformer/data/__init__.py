"""Data: text as tokens on disk, the order of examples, masks, and the no-context baseline."""
