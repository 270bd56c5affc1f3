#!/usr/bin/env python
"""The server that one writes first: FastAPI in front of sentence-transformers on PyTorch, for comparisons.

It needs no bertpass but fastapi, uvicorn and sentence-transformers, in an environment of their own:

    python benchmarks/plain_server.py FOLDER --port 8090

FOLDER is a Hugging Face folder, as ``bertpass convert --input minilm --output FOLDER`` writes one. One request is
computed at a time (``--concurrent``), on all processors that the process may use: more at once are slower, because
each would have threads of its own.
"""

import argparse
import os
import threading

import torch
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from sentence_transformers import SentenceTransformer


class Body(BaseModel):
    """As text-embeddings-inference has it."""

    inputs: str | list[str]


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--port", type=int, default=8090)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--concurrent", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model = SentenceTransformer(options.model, device="cpu")
    turn = threading.Semaphore(options.concurrent)
    app = FastAPI()

    @app.post("/embed")
    def embed(body: Body) -> list[list[float]]:
        texts = [body.inputs] if isinstance(body.inputs, str) else body.inputs
        with turn:
            return model.encode(texts, normalize_embeddings=True, show_progress_bar=False).tolist()

    uvicorn.run(app, host="127.0.0.1", port=options.port, log_level="warning")


if __name__ == "__main__":
    main()
