"""One attention mechanism expressed by another: closed-form starts, fits, and shared heads."""
