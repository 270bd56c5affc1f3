"""What a person says about a model whose files do not say it, or say something else: the same flags everywhere."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bertpass.errors import UsageError
from bertpass.model.config import CLASSIFIERS, HEADS, WORD_KINDS, HeadConfig
from bertpass.options import flag
from bertpass.text.data.labels import placeholders

if TYPE_CHECKING:
    from bertpass.model.record import Checkpoint

CASES = ("uncased", "cased")
FOR_PARAMS = ("vocab", "num_heads", "case")
_ENCODERS = ("none", "pooled", "embedding")  # heads without weights of their own


@dataclass
class Given:
    """Flags of every command that opens a model, and arguments of :func:`bertpass.load`; nothing is said by default."""

    kind: str | None = flag(None, "kind of the model's outputs, where its files do not say it or are wrong",
                            group="model", choices=HEADS)
    labels: list[str] = flag([], "names of a classifier's outputs, in the order of their ids", group="model")
    max_length: int | None = flag(None, "length in tokens to which texts are cut (default: the model's)", group="model",
                                  formerly=("--length",), least=3)
    vocab: str | None = flag(None, "vocabulary file (.vocab, vocab.txt or tokenizer.json) for a .params file without "
                             "one next to it", group="model", rare=True)
    num_heads: int | None = flag(None, "attention heads of a .params file that is not 768 or 1024 wide, or whose heads "
                                 "are not of size 64", group="model", formerly=("--heads",), least=1, rare=True)
    case: str | None = flag(None, "case of a .params file's vocabulary", group="model", choices=CASES, rare=True)
    allow_pickle: bool = flag(False, "read pytorch_model.bin files; a pickle can run code, so only from a source that "
                              "you trust", group="model", rare=True)

    @property
    def given(self) -> Given:
        """These alone, of options that have others too."""
        return Given(**{field.name: getattr(self, field.name) for field in dataclasses.fields(Given)})

    def of(self, path: str) -> Given:
        """What of these is for the model at ``path``: some are for ``.params`` files alone."""
        return self if is_params(path) else dataclasses.replace(self, vocab=None, num_heads=None, case=None)

    @property
    def lower(self) -> bool | None:
        """``case`` as the readers take it."""
        return None if self.case is None else self.case == "uncased"


def is_params(path: str) -> bool:
    """Whether a path is that of a ``.params`` file, whatever it is called."""
    return os.path.isfile(os.path.expanduser(path)) and not path.endswith(".safetensors")


def said(checkpoint: Checkpoint, given: Given) -> Checkpoint:
    """The checkpoint with the kind, labels and length that a person gives.

    Raises
    ------
    UsageError
        Its outputs cannot be of that kind, there are not so many labels, or it has fewer positions.
    """
    head = checkpoint.head if given.kind is None else _of_kind(checkpoint.head, given.kind, checkpoint.source)
    labels = checkpoint.labels
    if given.labels:
        if not head.num_labels or (head.num_labels == 1 and head.kind in ("ranking", "regression")):
            raise UsageError(f"--labels: {checkpoint.source} has no outputs with names (its kind is '{head.kind}').")
        if len(given.labels) != head.num_labels or len(set(given.labels)) != len(given.labels):
            raise UsageError(f"--labels {' '.join(given.labels)}: {checkpoint.source} has {head.num_labels} outputs; "
                             "give as many different names.")
        labels = list(given.labels)
    if head.kind in ("ranking", "regression") and head.num_labels == 1:
        labels = None
    if given.max_length is not None and given.max_length > checkpoint.config.max_length:
        raise UsageError(f"--max_length {given.max_length}: {checkpoint.source} has {checkpoint.config.max_length} "
                         "positions.")
    return dataclasses.replace(checkpoint, head=head, labels=labels,
                               max_length=given.max_length or checkpoint.max_length)


def _of_kind(head: HeadConfig, kind: str, source: str) -> HeadConfig:
    """The same weights read as a head of another kind."""
    if head.kind in CLASSIFIERS and kind in CLASSIFIERS:
        if kind == "ranking" and head.num_labels != 1:
            raise UsageError(f"--kind ranking: {source} has {head.num_labels} outputs and a ranking has one.")
        if kind in ("classification", "multilabel") and head.num_labels == 1:
            raise UsageError(f"--kind {kind}: {source} has one output, which is a value (regression) or a rank "
                             "(ranking).")
        own = head.activation if kind == "ranking" or kind == head.kind == "regression" else ""
        return dataclasses.replace(head, kind=kind, activation=own)
    if head.kind in _ENCODERS and kind in _ENCODERS:
        return head if head.kind == kind else HeadConfig(kind)
    if head.kind in WORD_KINDS and kind in WORD_KINDS:
        return head if head.kind == kind else HeadConfig(kind, tied=head.tied)
    if head.kind != kind:
        raise UsageError(f"--kind {kind}: {source} has the weights of a '{head.kind}' head.")
    return head


def assumed(checkpoint: Checkpoint, given: Given, published: bool) -> str:
    """One sentence with what a ``.params`` file does not say and a person has not said either; empty for nothing.

    ``published`` says that its encoder is one of a known name.
    """
    config, head = checkpoint.config, checkpoint.head
    told = []
    if given.num_heads is None and not published:
        told.append(f"{config.num_heads} attention heads (--num_heads)")
    if not published:
        told.append(f"activation {config.activation}")
    if given.max_length is None:
        told.append(f"texts cut at its {config.max_length} positions (--max_length)")
    if given.case is None and checkpoint.tokenizer is not None and checkpoint.tokenizer.family == "wordpiece":
        told.append(f"text {'put into lower case' if checkpoint.tokenizer.lower else 'with its case kept'} (--case)")
    if not given.labels and head.num_labels > 1:
        names = placeholders(head.num_labels)
        told.append(f"labels {names[0]} to {names[-1]} (--labels)")
    return f"{checkpoint.source} does not say these, so they were assumed: {', '.join(told)}." if told else ""
