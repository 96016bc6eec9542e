"""Print the lines of a file that are nearest in meaning to a query: python examples/search.py RUN lines.txt "a query"

A model that was only pre-trained ranks roughly; a model that was fine-tuned with sentence-transformers ranks well.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np

from leanformer.inference import embed

run, lines, query = sys.argv[1:]
with tempfile.TemporaryDirectory() as folder:
    asked = Path(folder) / "query.txt"
    asked.write_text(query + "\n", encoding="utf-8")
    embed(run, [asked, lines], Path(folder) / "vectors.npy")
    vectors = np.load(Path(folder) / "vectors.npy")

vectors -= vectors[1:].mean(0)  # the part that all lines share carries no information
vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
similarity = vectors[1:] @ vectors[0]
texts = Path(lines).read_text(encoding="utf-8").splitlines()
for i in np.argsort(-similarity)[:5]:
    print(f"{similarity[i]:+.3f}  {texts[i]}")
