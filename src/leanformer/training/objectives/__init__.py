"""What is learned: masked, causal and paired text, each as one objective that the training loop calls."""
