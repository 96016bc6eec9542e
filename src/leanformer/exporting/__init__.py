"""A trained model for the machines and tools of others: a folder for the Hugging Face hub, or an ONNX graph."""
