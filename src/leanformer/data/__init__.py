"""Text to tokens on disk, and what is drawn from them: order, masks, and the floor that needs no context."""
