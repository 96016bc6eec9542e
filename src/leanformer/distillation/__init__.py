"""A student learns what a teacher makes of a text: recovery of a converted model, or a smaller one of another mechanism."""
