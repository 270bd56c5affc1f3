"""The two classes that people know from sentence-transformers, for inference: the same calls, types and shapes.

They stand on :class:`~bertpass.engines.model.Model`. PyTorch is imported only where a tensor is asked for.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from bertpass import engines
from bertpass.engines import given, results, vectors
from bertpass.engines.model import Model, with_prompt
from bertpass.errors import UsageError, unknown
from bertpass.extras import require
from bertpass.model.layouts.huggingface_heads import said_activation
from bertpass.model.layouts.sentence_transformers import SETTINGS_FILE, activation

# Arguments of the library's that are accepted with the value that changes nothing, and what to do in place of another.
_REFUSED = {
    "modules": "give the folder of a saved model", "cache_folder": "give the folder of the model",
    "trust_remote_code": "code of the model's own is never run", "revision": "give the folder of that revision",
    "local_files_only": "give the folder of the model", "token": "give the folder of the model",
    "use_auth_token": "give the folder of the model", "model_card_data": "nothing is trained here",
    "model_kwargs": "dtype= is the precision and engine= what computes", "config_kwargs": "write them into config.json",
    "processor_kwargs": "write them into tokenizer_config.json", "tokenizer_kwargs": "write them into "
    "tokenizer_config.json", "num_labels": "the folder says it", "automodel_args": "dtype= is the precision",
    "pool": "all processors are used already", "chunk_size": "there is no pool of processes",
    "processing_kwargs": "set max_seq_length", "task": "give a prompt", "num_workers": "all processors are "
    "used already",
}


def _refuse(call: str, more: Mapping[str, Any]) -> None:
    """UsageError for arguments that are not there, or that would have to be honoured."""
    for name, value in more.items():
        if name not in _REFUSED:
            raise UsageError(unknown(f"argument of {call}", name, _REFUSED))
        if value not in (None, False):
            raise UsageError(f"{call} has no {name}: {_REFUSED[name]}.")


def _device(device: Any) -> str:
    name = str(device or "cpu")
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "cuda") or (number and not number.isdecimal()):
        raise UsageError(f"device {name!r}: give 'cpu', 'cuda' or 'cuda:NUMBER'.")
    return name


class _Encoder:
    """What both classes have: the model, its device, its prompts and its length."""

    def __init__(self, model_name_or_path: Any, *, device: Any = None, prompts: Mapping[str, str] | None = None,
                 default_prompt_name: str | None = None, backend: str | None = None, engine: str | None = None,
                 dtype: str | None = "float32", threads: int | None = None, **more: Any) -> None:
        _refuse(type(self).__name__, more)
        if backend is not None and engine is not None:
            raise UsageError("backend and engine are one: give one of them.")
        self.device = _device(device)
        on_gpu = self.device != "cpu"
        name = engine or backend or ("cuda" if on_gpu else "native")
        if on_gpu and name != "cuda":
            raise UsageError(f"device {self.device!r} is for engine='cuda', not for {name!r}.")
        options = {"device": int(self.device.partition(":")[2] or 0)} if on_gpu else {}
        self._loading: dict[str, Any] = {"engine": name, "dtype": dtype, "threads": threads, **options}
        self.model: Model = engines.load(model_name_or_path, **self._loading)
        self.prompts: dict[str, str] = {**self.model.sentence.prompts, **(prompts or {})}
        self.default_prompt_name = default_prompt_name or self.model.sentence.default_prompt
        if self.default_prompt_name is not None and self.default_prompt_name not in self.prompts:
            raise UsageError(unknown("default_prompt_name", str(self.default_prompt_name), self.prompts))

    @property
    def tokenizer(self) -> Any:
        """bertpass's own :class:`~bertpass.text.tokens.tokenizer.Tokenizer`, not transformers'."""
        return self.model.tokenizer

    @property
    def max_seq_length(self) -> int:
        """Tokens to which texts are cut; it can be set, to as many as the model has positions."""
        return self.model.max_length

    @max_seq_length.setter
    def max_seq_length(self, value: int | None) -> None:
        positions = self.model.config.max_length
        wanted = positions if value is None else given.whole_number("max_seq_length", value, 3)
        if wanted > positions:
            raise UsageError(f"max_seq_length {wanted}: the model has {positions} positions.")
        self.model.max_length = wanted

    def eval(self) -> Any:
        """Nothing: there is no other mode."""
        return self

    def to(self, device: Any) -> Any:
        """The same, where it is on that device; UsageError for another one."""
        self._stays(device)
        return self

    def close(self) -> None:
        """Give back what the engine holds."""
        self.model.close()

    def _stays(self, device: Any) -> None:
        if device is not None and _device(device) != self.device:
            raise UsageError(f"the model is on {self.device}; give device={str(device)!r} where it is made.")

    def _prompt(self, prompt: str | None, name: str | None) -> str:
        """The text to put in front, as the library chooses it."""
        if prompt is not None:
            return prompt
        name = self.default_prompt_name if name is None else name
        if name is not None and name not in self.prompts:
            raise UsageError(unknown("prompt", str(name), self.prompts))
        return "" if name is None else self.prompts[name]


def _renamed(call: str, inputs: Any, more: dict[str, Any], **old: str) -> Any:
    """The inputs, which older versions of the library called otherwise; the rest of ``more`` is refused."""
    for name in old:
        if name in more and inputs is None:
            inputs = more.pop(name)
    _refuse(call, more)
    return inputs


class SentenceEncoder(_Encoder):
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

    def __init__(self, model_name_or_path: Any, *, similarity_fn_name: str | None = None,
                 truncate_dim: int | None = None, **options: Any) -> None:
        super().__init__(model_name_or_path, **options)
        self.prompts = {"query": "", "document": "", **self.prompts}  # the library's own two
        if self.model.head.kind not in ("embedding", "none", "pooled"):
            raise UsageError(f"{self.model.source} is a {self.model.head.kind} model and gives no vectors"
                             f"{'; use CrossEncoder' if self.model.head.has_classifier else ''}.")
        said = self.model.carried.get(SETTINGS_FILE, {}).get("similarity_fn_name")
        self.similarity_fn_name = similarity_fn_name or said or "cosine"
        self._states: Model | None = None
        if truncate_dim is not None:
            self.truncate_dim = truncate_dim

    @property
    def similarity_fn_name(self) -> str:
        """How :meth:`similarity` compares: "cosine", "dot", "euclidean" or "manhattan"."""
        return self._similarity

    @similarity_fn_name.setter
    def similarity_fn_name(self, name: Any) -> None:
        name = str(getattr(name, "value", name))  # the library's enumeration has them as values
        if name not in vectors.SIMILARITIES:
            raise UsageError(unknown("similarity_fn_name", name, vectors.SIMILARITIES))
        self._similarity = name

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
        inputs = _renamed("SentenceEncoder.encode", inputs, more, sentences="inputs")
        _refuse("SentenceEncoder.encode", {"pool": pool, "chunk_size": chunk_size})
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
        out = _converted(found, convert_to_numpy, convert_to_tensor)
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

    def _encode_as(self, names: Sequence[str], inputs: Any, prompt_name: str | None, prompt: str | None,
                   arguments: tuple[Any, ...], more: dict[str, Any]) -> Any:
        if prompt_name is None and prompt is None:
            prompt_name = next((name for name in names if name in self.prompts), None)
        return self.encode(inputs, prompt_name, prompt, *arguments, **more)

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


class CrossEncoder(_Encoder):
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
        inputs = _renamed("CrossEncoder.predict", inputs, more, sentences="inputs")
        _refuse("CrossEncoder.predict", {"pool": pool, "chunk_size": chunk_size})
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
        out = _converted(scores if pairs else np.asarray([]), convert_to_numpy, convert_to_tensor)
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


def _converted(values: np.ndarray, to_numpy: bool, to_tensor: bool) -> Any:
    """An array as the library's arguments say it; an empty one becomes its empty array, tensor or list."""
    if to_tensor:
        torch = require("torch", "torch")
        return torch.from_numpy(values) if len(values) else torch.tensor([])
    if to_numpy:
        return values
    return [require("torch", "torch").from_numpy(np.asarray(row)) for row in values]
