"""In the place of sentence-transformers' SentenceTransformer, for inference."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from bertpass import engines
from bertpass.engines import given, vectors
from bertpass.engines.encoders.common import VectorEncoder, converted, refuse, renamed
from bertpass.engines.model import Model, with_prompt
from bertpass.errors import UsageError
from bertpass.extras import require
from bertpass.model.config import CLASSIFIERS

_INSTEAD = {**dict.fromkeys(CLASSIFIERS, "; use CrossEncoder"), "sparse": "; use SparseEncoder"}


class SentenceEncoder(VectorEncoder):
    """In the place of ``sentence_transformers.SentenceTransformer``, for inference.

    Parameters
    ----------
    model_name_or_path
        What :func:`bertpass.load` takes: a folder that the library saved, a hub id, a bundle, a packed file.
    device
        "cpu" (default) or "cuda", "cuda:1": then the engine is ours for NVIDIA GPUs.
    prompts, default_prompt_name, similarity_fn_name, truncate_dim
        In place of those that the model's files say.
    engine, backend
        What computes, of :func:`bertpass.load`; default "native". ``backend`` is the library's word for it.
    dtype, threads
        Precision of the computing, here by default "float32", as in the library (None: a packed file's own); threads of
        one call.

    Raises
    ------
    UsageError
        An argument that is not supported, by its name, or a model that gives no vectors.
    ModelError, DownloadError, MissingDependencyError
        As :func:`bertpass.load`.
    """

    def __init__(self, model_name_or_path: Any, *, truncate_dim: int | None = None, **options: Any) -> None:
        super().__init__(model_name_or_path, **options)
        self._states: Model | None = None
        if truncate_dim is not None:
            self.truncate_dim = truncate_dim

    def _check(self) -> None:
        if self.model.head.kind not in ("embedding", "none", "pooled"):
            raise UsageError(f"{self.model.source} is a {self.model.head.kind} model and gives no vectors"
                             f"{_INSTEAD.get(self.model.head.kind, '')}.")
        if self.model.sentence.late is not None:
            raise UsageError(f"{self.model.source} has a vector for every token; use MultiVectorEncoder.")

    @property
    def truncate_dim(self) -> int | None:
        """Numbers of each vector that are kept, None for all."""
        return self.model.sentence.truncate_dim

    @truncate_dim.setter
    def truncate_dim(self, width: int | None) -> None:
        if width is not None:
            given.whole_number("truncate_dim", width)
        self.model.sentence = dataclasses.replace(self.model.sentence, truncate_dim=width)

    def get_embedding_dimension(self) -> int:
        """Width of the vectors."""
        return self.model.sentence.size(self.model.config.units)

    get_sentence_embedding_dimension = get_embedding_dimension

    def encode(self, inputs: Any = None, prompt_name: str | None = None, prompt: str | None = None,
               batch_size: int = 32, show_progress_bar: bool | None = None,
               output_value: str | None = "sentence_embedding", precision: str | None = "float32",
               convert_to_numpy: bool = True, convert_to_tensor: bool = False, device: Any = None,
               normalize_embeddings: bool = False, truncate_dim: int | None = None, pool: Any = None,
               chunk_size: Any = None, **more: Any) -> Any:
        """Vectors of texts, as the library's ``encode`` gives them.

        Parameters
        ----------
        inputs : one text, or a sequence of texts (in older programs ``sentences``)
        prompt_name, prompt : name of the prompt that is put in front, or its text; default the model's default prompt
        output_value : "sentence_embedding", or "token_embeddings": the states of each text's tokens, for which the
            model is loaded a second time where it pools
        precision : "float32", or as in :func:`~bertpass.engines.vectors.quantize_embeddings`
        convert_to_numpy, convert_to_tensor : an array (default), one tensor, or where both are False a list of tensors
        normalize_embeddings, truncate_dim : vectors of length 1; so many of their first numbers

        Returns
        -------
        (texts, units) float32, int8 or uint8; (units,) for one text; of no texts an empty array, tensor or list

        Raises
        ------
        UsageError
            An argument is not supported or has a value that cannot be used.
        """
        inputs = renamed("SentenceEncoder.encode", inputs, more, sentences="inputs")
        refuse("SentenceEncoder.encode", {"pool": pool, "chunk_size": chunk_size})
        self._stays(device)
        single = isinstance(inputs, str)
        texts = given.texts(inputs, "inputs")
        put = self._prompt(prompt, prompt_name)
        if output_value == "token_embeddings":
            if precision not in (None, "float32"):
                raise UsageError("precision is of sentence vectors; leave it out for token_embeddings.")
            states = self._token_states(texts, put, batch_size, bool(show_progress_bar))
            return states[0] if single else states
        if output_value != "sentence_embedding":
            raise UsageError(f"output_value {output_value!r}: give 'sentence_embedding' or 'token_embeddings'.")
        found = self.model.encode(texts, batch_size=batch_size, normalize=bool(normalize_embeddings), prompt=put,
                                  truncate_dim=truncate_dim, show_progress_bar=bool(show_progress_bar))
        if precision is not None and (texts or precision not in vectors.PRECISIONS):
            found = vectors.quantize_embeddings(found, precision)
        if not texts:
            found = np.asarray([])
        out = converted(found, convert_to_numpy, convert_to_tensor)
        return out[0] if single else out

    def encode_query(self, inputs: Any = None, prompt_name: str | None = None, prompt: str | None = None,
                     *arguments: Any, **more: Any) -> Any:
        """:meth:`encode` with the prompt "query", where no other is given."""
        return self._encode_as(("query",), inputs, prompt_name, prompt, arguments, more)

    def encode_document(self, inputs: Any = None, prompt_name: str | None = None, prompt: str | None = None,
                        *arguments: Any, **more: Any) -> Any:
        """:meth:`encode` with the prompt "document", "passage" or "corpus", the first that is there, where no other is
        given."""
        return self._encode_as(("document", "passage", "corpus"), inputs, prompt_name, prompt, arguments, more)

    def _token_states(self, texts: list[str], put: str, batch_size: int, shown: bool) -> list[Any]:
        """The states of each text's tokens, special ones and the prompt's among them: tensors (tokens, units)."""
        model = self.model
        if model.head.kind == "embedding":
            self._states = self._states or engines.load(model.source, kind="none", **self._loading)
            model = self._states
        rows = model._run_shown(model.tokenizer.encode(with_prompt(put, texts), max_length=self.max_seq_length),
                                batch_size, shown)
        torch = require("torch", "torch")
        return [torch.from_numpy(np.ascontiguousarray(row)) for row in rows]

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Similarity of every vector with every other one: a tensor (first, second), of PyTorch as in the library."""
        return vectors.similarity(self.similarity_fn_name, embeddings1, embeddings2)

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Similarity of each vector with the one of its number: a tensor (rows,), of PyTorch as in the library."""
        return vectors.similarity(self.similarity_fn_name, embeddings1, embeddings2, pairwise=True)

    def tokenize(self, texts: Sequence[str]) -> dict[str, Any]:
        """Padded rows as tensors: input_ids, attention_mask and, of BERT, token_type_ids, (texts, tokens) int64."""
        torch = require("torch", "torch")
        rows = self.tokenizer.encode(given.texts(texts), max_length=self.max_seq_length)
        shape = len(rows), max(map(len, rows), default=0)
        ids, mask, types = np.full(shape, self.tokenizer.pad_id), np.zeros(shape, int), np.zeros(shape, int)
        for at, row in enumerate(rows):
            ids[at, :len(row)], mask[at, :len(row)], types[at, :len(row)] = row.ids, 1, row.token_types
        named = {"input_ids": ids, "attention_mask": mask} | (
            {"token_type_ids": types} if self.model.config.takes_token_types else {})
        return {name: torch.from_numpy(array) for name, array in named.items()}

    def close(self) -> None:
        """Give back what the engine holds."""
        super().close()
        if self._states is not None:
            self._states.close()
