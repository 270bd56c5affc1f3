"""An index of LlamaIndex with vectors computed in this process: python examples/llama_index_search.py [MODEL]

Needs pip install llama-index-core.
"""

import sys
from typing import Any

from llama_index.core import Document, VectorStoreIndex
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.bridge.pydantic import PrivateAttr

import bertpass


class BertpassEmbedding(BaseEmbedding):
    """Embeddings of one model; queries and documents get the model's own prompts, where it has any."""

    _model: Any = PrivateAttr()

    def __init__(self, model: str) -> None:
        super().__init__(model_name=model)
        self._model = bertpass.SentenceEncoder(model)

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._model.encode_query(query).tolist()

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_query_embedding(query)

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return self._model.encode_document(texts).tolist()


texts = ["Bread rises because of yeast.", "Oslo is the capital of Norway.", "A man is eating food."]
embedding = BertpassEmbedding(sys.argv[1] if len(sys.argv) > 1 else "minilm")
index = VectorStoreIndex.from_documents([Document(text=text) for text in texts], embed_model=embedding)
for found in index.as_retriever(similarity_top_k=2).retrieve("Which city governs Norway?"):
    print(f"{found.score:.3f}  {found.text}")
