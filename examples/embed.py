"""Vectors of sentences, and the most similar of them: python examples/embed.py [MODEL]"""

import sys

import bertpass

model = bertpass.SentenceEncoder(sys.argv[1] if len(sys.argv) > 1 else "minilm")
sentences = ["A man is eating food.", "Somebody eats.", "The stock market fell on Tuesday.", "Shares lost value."]
vectors = model.encode(sentences)
similar = model.similarity(vectors, vectors)

print(f"{len(sentences)} vectors of {vectors.shape[1]} numbers")
for i, sentence in enumerate(sentences):
    other = max((j for j in range(len(sentences)) if j != i), key=lambda j: similar[i, j])
    print(f"{sentence:35} {float(similar[i, other]):.3f}  {sentences[other]}")
