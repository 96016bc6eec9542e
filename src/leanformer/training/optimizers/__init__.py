"""Optimizers, their parameter groups, and the schedules of learning rate and batch size."""
