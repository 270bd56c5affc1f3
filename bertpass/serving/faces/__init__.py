"""The routes, by whose clients they are for: text-embeddings-inference, OpenAI, Hugging Face, KServe."""
