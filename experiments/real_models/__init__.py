"""What a trained sentence encoder keeps with another attention: `python -m experiments real-models`."""
