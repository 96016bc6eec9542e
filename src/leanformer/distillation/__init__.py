"""A student learns what a teacher makes of a text: healing a converted model, or a smaller one of another mechanism."""
