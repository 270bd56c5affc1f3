"""LangChain's vector store with vectors computed in this process: python examples/langchain_search.py [MODEL]

Needs pip install langchain-core. For vectors from a server use langchain-openai's OpenAIEmbeddings, see
docs/serving.md.
"""

import sys

from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import InMemoryVectorStore

import bertpass


class BertpassEmbeddings(Embeddings):
    """Embeddings of one model; queries and documents get the model's own prompts, where it has any."""

    def __init__(self, model: str) -> None:
        self.model = bertpass.SentenceEncoder(model)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return self.model.encode_document(texts).tolist()

    def embed_query(self, text: str) -> list[float]:
        return self.model.encode_query(text).tolist()


store = InMemoryVectorStore(BertpassEmbeddings(sys.argv[1] if len(sys.argv) > 1 else "minilm"))
store.add_texts(["Bread rises because of yeast.", "Oslo is the capital of Norway.", "A man is eating food."])
for document, score in store.similarity_search_with_score("Which city governs Norway?", k=2):
    print(f"{score:.3f}  {document.page_content}")
