"""What the classes in the place of sentence-transformers' have in common: the model, its device, prompts, length."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bertpass import engines
from bertpass.engines import given, vectors
from bertpass.engines.model import Model
from bertpass.errors import UsageError, unknown
from bertpass.extras import require
from bertpass.model.layouts.sentence_transformers import SETTINGS_FILE

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


def refuse(call: str, more: Mapping[str, Any]) -> None:
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


class Encoder:
    """What the classes have: the model, its device, its prompts and its length."""

    _kind: str | None = None  # of the outputs, where the class has its own

    def __init__(self, model_name_or_path: Any, *, device: Any = None, prompts: Mapping[str, str] | None = None,
                 default_prompt_name: str | None = None, backend: str | None = None, engine: str | None = None,
                 dtype: str | None = "float32", threads: int | None = None, **more: Any) -> None:
        refuse(type(self).__name__, more)
        if backend is not None and engine is not None:
            raise UsageError("backend and engine are one: give one of them.")
        self.device = _device(device)
        on_gpu = self.device != "cpu"
        name = engine or backend or ("cuda" if on_gpu else "native")
        if on_gpu and name != "cuda":
            raise UsageError(f"device {self.device!r} is for engine='cuda', not for {name!r}.")
        options = {"device": int(self.device.partition(":")[2] or 0)} if on_gpu else {}
        self._loading: dict[str, Any] = {"engine": name, "dtype": dtype, "threads": threads, **options}
        self.model: Model = engines.load(model_name_or_path, kind=self._kind, **self._loading)
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

    def _encode_as(self, names: Sequence[str], inputs: Any, prompt_name: str | None, prompt: str | None,
                   arguments: tuple[Any, ...], more: dict[str, Any]) -> Any:
        """``encode`` with the first of the prompts that is there, where no other is given."""
        if prompt_name is None and prompt is None:
            prompt_name = next((name for name in names if name in self.prompts), None)
        return self.encode(inputs, prompt_name, prompt, *arguments, **more)  # type: ignore[attr-defined]


class VectorEncoder(Encoder):
    """What those have that give one vector per text: the library's own two prompts, and how vectors are compared.

    ``similarity_fn_name`` is in place of what the folder says.
    """

    _similar = "cosine"  # where neither says it

    def __init__(self, model_name_or_path: Any, *, similarity_fn_name: str | None = None, **options: Any) -> None:
        super().__init__(model_name_or_path, **options)
        self._check()
        self.prompts = {"query": "", "document": "", **self.prompts}
        said = self.model.carried.get(SETTINGS_FILE, {}).get("similarity_fn_name")
        self.similarity_fn_name = similarity_fn_name or said or self._similar

    def _check(self) -> None:
        """UsageError for a model of other outputs than the class is for."""

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


def renamed(call: str, inputs: Any, more: dict[str, Any], **old: str) -> Any:
    """The inputs, which older versions of the library called otherwise; the rest of ``more`` is refused."""
    for name in old:
        if name in more and inputs is None:
            inputs = more.pop(name)
    refuse(call, more)
    return inputs


def converted(values: np.ndarray, to_numpy: bool, to_tensor: bool) -> Any:
    """An array as the library's arguments say it; an empty one becomes its empty array, tensor or list."""
    if to_tensor:
        torch = require("torch", "torch")
        return torch.from_numpy(values) if len(values) else torch.tensor([])
    if to_numpy:
        return values
    return [require("torch", "torch").from_numpy(np.asarray(row)) for row in values]
