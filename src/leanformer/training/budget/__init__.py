"""A budget of time or tokens becomes settings: the size of the model, the tokens, the batch and the warm-up."""

from leanformer.training.budget.planning import Plan, as_recorded, plan

__all__ = ["Plan", "as_recorded", "plan"]
