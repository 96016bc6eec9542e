"""A student learns what a teacher makes of a text: a converted model recovers, or a smaller one begins."""
