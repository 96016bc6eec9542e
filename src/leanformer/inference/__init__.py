"""A trained model put to use on files of text: vectors of them, and what a fine-tuned model says of them."""

from leanformer.inference.embedding import embed
from leanformer.inference.prediction import predict

__all__ = ["embed", "predict"]
