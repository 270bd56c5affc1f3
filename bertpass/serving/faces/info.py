"""What text-embeddings-inference says of itself at /info, of the first model."""

from __future__ import annotations

from typing import Any

from bertpass.serving.queueing.calls import QueuedModel
from bertpass.serving.state import State


def of_first(state: State) -> dict[str, Any]:
    """The keys that its clients read."""
    model, options = next(iter(state.models.values())), state.options
    return {"model_id": model.path, "model_sha": None, "model_dtype": model.dtype, "model_type": _kind(model),
            "served_model_name": model.name, "max_input_length": model.max_length,
            "max_concurrent_requests": options.max_concurrent_requests, "max_batch_tokens": options.max_batch_tokens,
            "max_batch_requests": None, "max_client_batch_size": options.max_client_batch_size,
            "auto_truncate": options.auto_truncate, "tokenization_workers": options.max_concurrent_requests}


def _kind(model: QueuedModel) -> dict[str, Any]:
    """One key: embedding, classifier or reranker; of a kind that it does not have that kind."""
    if model.kind in ("embedding", "none", "pooled", "sparse"):
        pooling = model.head.pooling if model.kind == "embedding" else (model.sentence.pooling or ("mean",))[0]
        return {"embedding": {"pooling": "splade" if model.kind == "sparse" else pooling}}
    names = model.labels or [f"LABEL_{at}" for at in range(model.head.num_labels)]
    named = {"id2label": {str(at): name for at, name in enumerate(names)},
             "label2id": {name: at for at, name in enumerate(names)}}
    if model.kind in ("classification", "multilabel", "regression"):
        return {"classifier": named}
    return {"reranker": named} if model.kind == "ranking" else {model.kind: {}}
