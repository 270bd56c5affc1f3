"""A pipeline of Haystack with vectors computed in this process: python examples/haystack_search.py [MODEL]

Needs pip install haystack-ai.
"""

import sys

from haystack import Document, Pipeline, component
from haystack.components.retrievers.in_memory import InMemoryEmbeddingRetriever
from haystack.document_stores.in_memory import InMemoryDocumentStore

import bertpass

model = bertpass.SentenceEncoder(sys.argv[1] if len(sys.argv) > 1 else "minilm")


@component
class QueryVector:
    """The vector of a question."""

    @component.output_types(embedding=list[float])
    def run(self, text: str):
        return {"embedding": model.encode_query(text).tolist()}


texts = ["Bread rises because of yeast.", "Oslo is the capital of Norway.", "A man is eating food."]
store = InMemoryDocumentStore(embedding_similarity_function="cosine")
store.write_documents([Document(content=text, embedding=vector.tolist())
                       for text, vector in zip(texts, model.encode_document(texts), strict=True)])
pipeline = Pipeline()
pipeline.add_component("query", QueryVector())
pipeline.add_component("retriever", InMemoryEmbeddingRetriever(store, top_k=2))
pipeline.connect("query.embedding", "retriever.query_embedding")
for document in pipeline.run({"query": {"text": "Which city governs Norway?"}})["retriever"]["documents"]:
    print(f"{document.score:.3f}  {document.content}")
