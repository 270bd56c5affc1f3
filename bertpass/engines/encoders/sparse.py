"""In the place of sentence-transformers' SparseEncoder (since its version 5), for inference."""

from __future__ import annotations

from typing import Any

import numpy as np

from bertpass.engines import given, vectors
from bertpass.engines.encoders.common import VectorEncoder, refuse, renamed
from bertpass.engines.results import SparseVector
from bertpass.extras import require

_LEAST = 1e-12  # what a length is divided by at least, as in torch.nn.functional.normalize


class SparseEncoder(VectorEncoder):
    """In the place of ``sentence_transformers.SparseEncoder``, for inference: a weight for each word of the vocabulary.

    Parameters
    ----------
    model_name_or_path, device, prompts, default_prompt_name, engine, backend, dtype, threads
        As in :class:`~bertpass.engines.encoders.sentence.SentenceEncoder`. A folder without modules.json has to have
        the weights of a head of masked words, whose largest logits are taken, as in the library.
    similarity_fn_name
        In place of what the folder says; "dot" where it says nothing.
    max_active_dims
        Words that a vector has at most, the heaviest ones; None for all.

    Raises
    ------
    UsageError
        An argument that is not supported, by its name, or a model of other outputs.
    ModelError, DownloadError, MissingDependencyError
        As :func:`bertpass.load`.
    """

    _kind, _similar = "sparse", "dot"

    def __init__(self, model_name_or_path: Any, *, max_active_dims: int | None = None, **options: Any) -> None:
        super().__init__(model_name_or_path, **options)
        self.max_active_dims = None if max_active_dims is None else given.whole_number("max_active_dims",
                                                                                       max_active_dims)

    def get_embedding_dimension(self) -> int:
        """Words of the vocabulary."""
        return self.model.config.vocab_size

    get_sentence_embedding_dimension = get_embedding_dimension

    def encode(self, inputs: Any = None, prompt_name: str | None = None, prompt: str | None = None,
               batch_size: int = 32, show_progress_bar: bool | None = None, convert_to_tensor: bool = True,
               convert_to_sparse_tensor: bool = True, save_to_cpu: bool = False, device: Any = None,
               max_active_dims: int | None = None, pool: Any = None, chunk_size: Any = None,
               convert_to_numpy: bool = False, **more: Any) -> Any:
        """Sparse vectors of texts, as the library's ``encode`` gives them.

        Parameters
        ----------
        inputs : one text, or a sequence of texts (in older programs ``sentences``)
        prompt_name, prompt : name of the prompt that is put in front, or its text; default the model's default prompt
        convert_to_tensor : one tensor (default), else a list of tensors
        convert_to_sparse_tensor : in PyTorch's COO form (default), else dense
        save_to_cpu : changes nothing: they are there
        max_active_dims : in place of the model's
        convert_to_numpy : not in the library: a :class:`~bertpass.engines.results.SparseVector` per text, which needs
            no PyTorch

        Returns
        -------
        A float32 tensor (texts, words), (words,) for one text; of no texts an empty tensor or list

        Raises
        ------
        UsageError
            An argument is not supported or has a value that cannot be used.
        MissingDependencyError
            PyTorch is not installed, and ``convert_to_numpy`` is False.
        """
        inputs = renamed("SparseEncoder.encode", inputs, more, sentences="inputs")
        refuse("SparseEncoder.encode", {"pool": pool, "chunk_size": chunk_size})
        self._stays(device)
        texts = given.texts(inputs, "inputs")
        torch = None if convert_to_numpy else require("torch", "torch")
        most = self.max_active_dims if max_active_dims is None else max_active_dims
        found = self.model.encode_sparse(texts, batch_size=batch_size, prompt=self._prompt(prompt, prompt_name),
                                         max_active_dims=most, show_progress_bar=bool(show_progress_bar))
        if torch is None:
            return found[0] if isinstance(inputs, str) else found
        if isinstance(inputs, str):
            return _tensor(torch, found[0], convert_to_sparse_tensor)
        if not convert_to_tensor:
            return [_tensor(torch, one, convert_to_sparse_tensor) for one in found]
        if not found:
            return torch.tensor([]).to_sparse() if convert_to_sparse_tensor else torch.tensor([])
        together = _stacked(torch, found)
        return together if convert_to_sparse_tensor else together.to_dense()

    def encode_query(self, inputs: Any = None, prompt_name: str | None = None, prompt: str | None = None,
                     *arguments: Any, **more: Any) -> Any:
        """:meth:`encode` with the prompt "query", where no other is given."""
        return self._encode_as(("query",), inputs, prompt_name, prompt, arguments, more)

    def encode_document(self, inputs: Any = None, prompt_name: str | None = None, prompt: str | None = None,
                        *arguments: Any, **more: Any) -> Any:
        """:meth:`encode` with the prompt "document", "passage" or "corpus", the first that is there, where no other is
        given."""
        return self._encode_as(("document", "passage", "corpus"), inputs, prompt_name, prompt, arguments, more)

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Similarity of every vector with every other one: a tensor (first, second), of PyTorch as in the library.

        Vectors are tensors, dense or sparse, arrays, or what ``convert_to_numpy`` gives.
        """
        torch = require("torch", "torch")
        if self._similarity not in ("dot", "cosine"):
            return vectors.similarity(self._similarity, *(_dense(torch, each) for each in (embeddings1, embeddings2)))
        a, b = (_sparse(torch, each) for each in (embeddings1, embeddings2))
        a, b = (each if each.dim() == 2 else each.unsqueeze(0) for each in (a, b))
        found = torch.sparse.mm(a, b.t()).to_dense()
        return found / (_lengths(torch, a)[:, None] * _lengths(torch, b)) if self._similarity == "cosine" else found

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Similarity of each vector with the one of its number: a tensor (rows,), of PyTorch as in the library."""
        torch = require("torch", "torch")
        if self._similarity not in ("dot", "cosine"):
            return vectors.similarity(self._similarity, *(_dense(torch, each) for each in (embeddings1, embeddings2)),
                                      pairwise=True)
        a, b = (_sparse(torch, each) for each in (embeddings1, embeddings2))
        found = torch.sparse.sum(a * b, -1)
        found = found.to_dense() if found.is_sparse else found
        return found / (_lengths(torch, a) * _lengths(torch, b)) if self._similarity == "cosine" else found

    def decode(self, embeddings: Any, top_k: int | None = None) -> Any:
        """The words of a vector with their weights, the heaviest first: [(word, weight), ...], or a list of these for
        several vectors; the first ``top_k`` of each."""
        if top_k is not None:
            given.whole_number("top_k", top_k)
        if isinstance(embeddings, list):
            return [self.decode(one, top_k) for one in embeddings]
        if not isinstance(embeddings, SparseVector):
            tensor = _dense(require("torch", "torch"), embeddings)
            if tensor.dim() == 2:
                return [self.decode(row, top_k) for row in tensor]
            embeddings = SparseVector.of(tensor.numpy())
        tokens = self.tokenizer.tokens
        order = np.argsort(-embeddings.values, kind="stable")[:top_k]
        return [(tokens[at] if at < len(tokens) else None, value) for at, value in
                zip(embeddings.indices[order].tolist(), embeddings.values[order].tolist(), strict=True)]

    @staticmethod
    def sparsity(embeddings: Any) -> dict[str, float]:
        """How many words the vectors have on average ("active_dims"), and the share that they have not
        ("sparsity_ratio")."""
        torch = require("torch", "torch")
        dense = _dense(torch, embeddings)
        rows = dense.unsqueeze(0) if dense.dim() == 1 else dense
        if not rows.numel():
            return {"active_dims": 0.0, "sparsity_ratio": 1.0}
        active = torch.mean((rows != 0).sum(1).float()).item()
        return {"active_dims": active, "sparsity_ratio": 1.0 - active / rows.shape[1]}


def _tensor(torch: Any, vector: SparseVector, sparse: bool) -> Any:
    """(words,)"""
    if not sparse:
        return torch.from_numpy(vector.dense())
    places = vector.indices.astype(np.int64)[None]
    return torch.sparse_coo_tensor(torch.from_numpy(places), torch.from_numpy(vector.values), (vector.size,),
                                   is_coalesced=True, check_invariants=False)


def _stacked(torch: Any, found: list[SparseVector]) -> Any:
    """Rows of one COO tensor, (rows, words); at least one."""
    rows = np.repeat(np.arange(len(found)), [len(one.indices) for one in found])
    places = np.stack([rows, np.concatenate([one.indices for one in found]).astype(np.int64)])
    values = np.concatenate([one.values for one in found])
    return torch.sparse_coo_tensor(torch.from_numpy(places), torch.from_numpy(values), (len(found), found[0].size),
                                   is_coalesced=True, check_invariants=False)


def _sparse(torch: Any, embeddings: Any) -> Any:
    """Vectors of any form as a coalesced COO tensor, (rows, words) or (words,)."""
    if isinstance(embeddings, SparseVector):
        return _tensor(torch, embeddings, True)
    if isinstance(embeddings, list) and embeddings and isinstance(embeddings[0], SparseVector):
        return _stacked(torch, embeddings)
    if isinstance(embeddings, list) and embeddings and isinstance(embeddings[0], torch.Tensor):
        embeddings = torch.stack(embeddings)
    tensor = embeddings if isinstance(embeddings, torch.Tensor) else torch.tensor(np.asarray(embeddings))
    return (tensor if tensor.is_sparse else tensor.to_sparse()).coalesce()


def _dense(torch: Any, embeddings: Any) -> Any:
    """Vectors of any form as a dense tensor."""
    if isinstance(embeddings, torch.Tensor) and not embeddings.is_sparse:
        return embeddings
    return _sparse(torch, embeddings).to_dense()


def _lengths(torch: Any, tensor: Any) -> Any:
    """Euclidean lengths of the rows, (rows,), or of a single vector, ()."""
    squares = torch.sparse.sum(tensor * tensor, -1)
    return torch.sqrt(squares.to_dense() if squares.is_sparse else squares).clamp_min(_LEAST)
