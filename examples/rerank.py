"""Search in two steps: the nearest passages by vectors, then their order by a model that reads query and passage
together: python examples/rerank.py [RANKING_MODEL]

Without a ranking model only the first step is made.
"""

import sys

import numpy as np

import bertpass

PASSAGES = [
    "BERT is an encoder: it reads a text as a whole and gives a vector per token.",
    "Bread rises because yeast makes carbon dioxide.",
    "A cross-encoder reads two texts together and gives one score.",
    "The capital of Norway is Oslo.",
    "Vectors of sentences are compared by their cosine.",
]
QUERY = "How does an encoder represent text?"

vectors = bertpass.SentenceEncoder("minilm")
scores = vectors.similarity(vectors.encode(QUERY), vectors.encode(PASSAGES))[0]
nearest = [int(i) for i in np.argsort(-np.asarray(scores))[:3]]
for i in nearest:
    print(f"cosine {float(scores[i]):.3f}  {PASSAGES[i]}")
if len(sys.argv) > 1:
    for each in bertpass.load(sys.argv[1]).rerank(QUERY, [PASSAGES[i] for i in nearest]):
        print(f"score  {each.score:.3f}  {PASSAGES[nearest[each.index]]}")
