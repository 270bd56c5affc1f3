"""In the place of sentence-transformers' CrossEncoder, for inference."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from bertpass.engines import given, results
from bertpass.engines.encoders.common import Encoder, converted, refuse, renamed
from bertpass.engines.model import with_prompt
from bertpass.errors import UsageError
from bertpass.extras import require
from bertpass.model.layouts.huggingface_heads import said_activation
from bertpass.model.layouts.sentence_transformers import SETTINGS_FILE, activation


class CrossEncoder(Encoder):
    """In the place of ``sentence_transformers.CrossEncoder``, for inference.

    Parameters
    ----------
    model_name_or_path, device, prompts, default_prompt_name, engine, backend, dtype, threads
        As in :class:`SentenceEncoder`.
    max_length
        Tokens to which pairs are cut; default as the model's files say.
    activation_fn
        Function of a tensor of logits (pairs, outputs), such as ``torch.nn.Sigmoid()``; default as the files say, else
        the sigmoid of one output and the logits of several.

    Raises
    ------
    UsageError
        An argument that is not supported, by its name, or a model without a classifier.
    """

    def __init__(self, model_name_or_path: Any, *, max_length: int | None = None,
                 activation_fn: Callable[[Any], Any] | None = None, **options: Any) -> None:
        super().__init__(model_name_or_path, **options)
        head = self.model.head
        if not head.has_classifier:
            raise UsageError(f"{self.model.source} scores no pairs: it has no classifier (its head is '{head.kind}').")
        self.num_labels = head.num_labels
        self.activation_fn = activation_fn
        said = said_activation(self.model.carried.get("config.json", {}), self.model.carried.get(SETTINGS_FILE, {}))
        self._scores = activation(said) if said else "sigmoid" if self.num_labels == 1 else "identity"
        if max_length is not None:
            self.max_seq_length = max_length

    def predict(self, inputs: Any = None, prompt_name: str | None = None, prompt: str | None = None,
                batch_size: int = 32, show_progress_bar: bool | None = None,
                activation_fn: Callable[[Any], Any] | None = None, apply_softmax: bool | None = False,
                convert_to_numpy: bool = True, convert_to_tensor: bool = False, device: Any = None, pool: Any = None,
                chunk_size: Any = None, **more: Any) -> Any:
        """Scores of pairs of texts, as the library's ``predict`` gives them.

        Parameters
        ----------
        inputs : one pair, or a sequence of pairs (in older programs ``sentences``)
        prompt_name, prompt : put in front of the first texts
        activation_fn : as in the class, for this call
        apply_softmax : softmax over the outputs, after the activation
        convert_to_numpy, convert_to_tensor : an array (default), one tensor, or where both are False a list of tensors

        Returns
        -------
        (pairs,) float32 of a model with one output, else (pairs, outputs); one row of it for one pair

        Raises
        ------
        UsageError
            An argument is not supported, or something is no pair of texts.
        """
        if activation_fn is None:
            activation_fn = more.pop("activation_fct", None)
        inputs = renamed("CrossEncoder.predict", inputs, more, sentences="inputs")
        refuse("CrossEncoder.predict", {"pool": pool, "chunk_size": chunk_size})
        self._stays(device)
        pairs, single = _pairs(inputs)
        put = self._prompt(prompt, prompt_name)
        logits = self._logits(pairs, put, batch_size, bool(show_progress_bar))
        function = activation_fn or self.activation_fn
        if function is None:
            scores = results.ACTIVATIONS[self._scores](logits).astype(np.float32) if pairs else logits
        else:
            scores = function(require("torch", "torch").from_numpy(logits))
            scores = scores.detach().cpu().float().numpy()
        if apply_softmax and pairs and scores.ndim > 1:
            scores = results.softmax(scores).astype(np.float32)
        if self.num_labels == 1 and scores.ndim > 1:
            scores = scores[:, 0]
        out = converted(scores if pairs else np.asarray([]), convert_to_numpy, convert_to_tensor)
        return out[0] if single else out

    def _logits(self, pairs: list[tuple[str, str]], put: str, batch_size: int, shown: bool) -> np.ndarray:
        given.whole_number("batch_size", batch_size)
        if not pairs:
            return np.zeros((0, self.num_labels), np.float32)
        firsts, seconds = with_prompt(put, [a for a, _ in pairs]), [b for _, b in pairs]
        rows = self.tokenizer.encode(firsts, seconds, max_length=self.max_seq_length)
        return np.stack(self.model._run_shown(rows, batch_size, shown))

    def rank(self, query: str, documents: Sequence[str], top_k: int | None = None, return_documents: bool = False,
             *arguments: Any, **more: Any) -> list[dict[str, Any]]:
        """The documents by their score for a query, the best first: {"corpus_id", "score"} and, with
        ``return_documents``, "text"; further arguments are those of :meth:`predict`.

        Raises
        ------
        UsageError
            The model has several outputs, or as in :meth:`predict`.
        """
        if self.num_labels != 1:
            raise UsageError(f"rank() is for models of one output and this one has {self.num_labels}; use predict().")
        many = given.texts(documents, "documents", "a list of texts")
        scores = self.predict([(query, text) for text in many], *arguments, **more)
        found = [{"corpus_id": at, "score": score} | ({"text": many[at]} if return_documents else {})
                 for at, score in enumerate(scores)]
        return sorted(found, key=lambda one: one["score"], reverse=True)[:top_k]


def _pairs(inputs: Any) -> tuple[list[tuple[str, str]], bool]:
    """The pairs, and whether one alone was given."""
    if isinstance(inputs, np.ndarray):
        inputs = inputs.tolist()
    if isinstance(inputs, (str, Mapping)) or not isinstance(inputs, Sequence):
        raise UsageError(f"give pairs of texts, as [(question, passage), ...], not {type(inputs).__name__}.")
    single = bool(inputs) and not isinstance(inputs[0], (list, tuple))
    many = [inputs] if single else list(inputs)
    for at, pair in enumerate(many, 1):
        if not isinstance(pair, (list, tuple)) or len(pair) != 2 or not all(isinstance(text, str) for text in pair):
            raise UsageError(f"entry {at} is no pair of texts: {pair!r:.60}.")
    return [(first, second) for first, second in many], single
