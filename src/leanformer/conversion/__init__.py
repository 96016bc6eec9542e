"""Trained models of other families and other mechanisms, made ours: exactly where that can be, else by the best fit."""
