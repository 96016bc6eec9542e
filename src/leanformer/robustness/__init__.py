"""How scores hold when the test text is noisy or of another domain, training labels are wrong, or examples are few."""
