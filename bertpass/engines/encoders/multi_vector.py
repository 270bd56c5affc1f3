"""A vector for every token, for late interaction: in the place of PyLate's ColBERT, for inference."""

from __future__ import annotations

from typing import Any

import numpy as np

from bertpass.engines import given, vectors
from bertpass.engines.encoders.common import Encoder, refuse, renamed
from bertpass.errors import UsageError
from bertpass.extras import require

# Arguments of PyLate's encode that have one value here, and what to do instead.
_FIXED = {"precision": ("float32", "use bertpass.quantize_embeddings"), "padding": (False, "pad the arrays"),
          "pool_factor": (1, "no vectors are put together"), "protected_tokens": (1, "no vectors are put together"),
          "output_value": ("token_embeddings", "the ids are those of the attribute tokenizer")}


class MultiVectorEncoder(Encoder):
    """In the place of ``pylate.models.ColBERT``, for inference: a vector for every token of a text.

    Parameters
    ----------
    model_name_or_path, device, prompts, default_prompt_name, engine, backend, dtype, threads
        As in :class:`~bertpass.engines.encoders.sentence.SentenceEncoder`; the folder is one that PyLate or the
        library of ColBERT's authors saved.

    Raises
    ------
    UsageError
        An argument that is not supported, by its name, or a model of other outputs.
    ModelError, DownloadError, MissingDependencyError
        As :func:`bertpass.load`.
    """

    def __init__(self, model_name_or_path: Any, **options: Any) -> None:
        super().__init__(model_name_or_path, **options)
        if self.model.sentence.late is None:
            raise UsageError(f"{self.model.source} has no vectors of tokens: it is no late-interaction model "
                             "that PyLate or the library of ColBERT's authors saved.")

    def get_embedding_dimension(self) -> int:
        """Width of the vectors."""
        return self.model.sentence.size(self.model.config.units)

    get_sentence_embedding_dimension = get_embedding_dimension

    def encode(self, inputs: Any = None, prompt_name: str | None = None, prompt: str | None = None,
               batch_size: int = 32, show_progress_bar: bool | None = None, *, is_query: bool = True,
               convert_to_numpy: bool = True, convert_to_tensor: bool = False, normalize_embeddings: bool = True,
               device: Any = None, **more: Any) -> Any:
        """The vectors of each text's tokens, as PyLate's ``encode`` gives them.

        Parameters
        ----------
        inputs : one text, or a sequence of texts (in PyLate ``sentences``)
        prompt_name, prompt : name of the prompt that is put in front, or its text; default the model's default prompt
        is_query : whether the texts are queries or documents, whose marks and lengths differ
        convert_to_numpy, convert_to_tensor : arrays (default) or tensors
        normalize_embeddings : vectors of length 1

        Returns
        -------
        A list with a float32 array (tokens, width) per text; the array alone for one text

        Raises
        ------
        UsageError
            An argument is not supported, or the model lengthens queries in a way that is not computed.
        """
        for name, (value, instead) in _FIXED.items():
            if more.pop(name, value) != value:
                raise UsageError(f"MultiVectorEncoder.encode has {name}={value!r} alone: {instead}.")
        inputs = renamed("MultiVectorEncoder.encode", inputs, more, sentences="inputs")
        refuse("MultiVectorEncoder.encode", more)
        self._stays(device)
        found: list[Any] = self.model.encode_tokens(
            given.texts(inputs, "inputs"), is_query=is_query, batch_size=batch_size, normalize=normalize_embeddings,
            prompt=self._prompt(prompt, prompt_name), show_progress_bar=bool(show_progress_bar))
        if convert_to_tensor or not convert_to_numpy:
            torch = require("torch", "torch")
            found = [torch.from_numpy(one) for one in found]
        return found[0] if isinstance(inputs, str) else found

    def encode_query(self, inputs: Any = None, *arguments: Any, **more: Any) -> Any:
        """:meth:`encode` of queries."""
        return self.encode(inputs, *arguments, is_query=True, **more)

    def encode_document(self, inputs: Any = None, *arguments: Any, **more: Any) -> Any:
        """:meth:`encode` of documents."""
        return self.encode(inputs, *arguments, is_query=False, **more)

    def similarity(self, queries: Any, documents: Any) -> np.ndarray:
        """MaxSim of every query with every document, (queries, documents) float32: the sum over the query's tokens of
        the largest product with a token of the document. Both are what :meth:`encode` gives."""
        return vectors.max_sim(_arrays(queries), _arrays(documents))


def _arrays(given_vectors: Any) -> list[np.ndarray]:
    """Vectors of several texts as arrays (tokens, width) each, of one text too."""
    many = [given_vectors] if getattr(given_vectors, "ndim", 0) == 2 else list(given_vectors)
    found = [np.asarray(one, np.float32) for one in many]
    if any(one.ndim != 2 for one in found):
        raise UsageError("give the vectors of texts, an array (tokens, width) each, as encode() gives them.")
    return found
