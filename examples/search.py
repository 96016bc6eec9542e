"""Print the lines of a file that are nearest in meaning to a query: python examples/search.py RUN lines.txt "a query"

A model that was only pre-trained ranks roughly; a model that was fine-tuned with sentence-transformers ranks well.
"""

import sys
from pathlib import Path

import numpy as np

import leanformer as lf

run, lines, query = sys.argv[1:]
texts = Path(lines).read_text(encoding="utf-8").splitlines()
vectors = lf.embed(run, [query, *texts])
vectors -= vectors[1:].mean(0)  # the part that all lines share carries no information
vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
similarity = vectors[1:] @ vectors[0]
for i in np.argsort(-similarity)[:5]:
    print(f"{similarity[i]:+.3f}  {texts[i]}")
