"""What a pre-trained model is worth: fine-tuning on tasks, held-out perplexity."""
