"""Distillation of sentence vectors: a student encoder learns the vectors that its teacher computes of whole texts."""
