"""The models that are served: their names, what is known of them without an engine, and their engines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bertpass.engines import native
from bertpass.engines.base import Engine
from bertpass.errors import UsageError
from bertpass.model.checkpoint import load_checkpoint
from bertpass.model.record import Checkpoint
from bertpass.serving import dummy


@dataclass(frozen=True)
class Source:
    """Where a model comes from and what computes it; small, so that it travels to a process.

    ``name`` is what clients call it; the other fields are those of ServeOptions.
    """

    name: str
    path: str
    engine: str
    dtype: str | None = None
    vocab: str | None = None
    allow_pickle: bool = False

    def checkpoint(self) -> Checkpoint:
        """The model's configuration, tokenizer and mapped weights; ModelError where it cannot be read."""
        if self.engine == "dummy":
            return dummy.checkpoint(self.path)
        return load_checkpoint(self.path, vocab=self.vocab, allow_pickle=self.allow_pickle, packed=True)

    def load(self, checkpoint: Checkpoint, threads: int) -> Engine:
        """The engine that computes it."""
        if self.engine == "dummy":
            return dummy.DummyEngine(checkpoint.config, checkpoint.head, dummy.named(self.path)[1])
        return native.from_checkpoint(checkpoint, dtype=self.dtype, threads=threads)


def sources(words: Sequence[str], engine: str, dtype: str | None, vocab: str | None, allow_pickle: bool,
            ) -> list[Source]:
    """The words of a command line, PATH or NAME=PATH, as sources.

    Raises
    ------
    UsageError
        No words, or a name twice.
    """
    if not words:
        raise UsageError("name a model to serve, as in: bertpass serve minilm.")
    found: dict[str, Source] = {}
    for word in words:
        name, equals, path = word.partition("=")
        if not equals:
            path, name = word, Path(word).name.removesuffix(".safetensors").removesuffix(".params")
        if not name or not path:
            raise UsageError(f"{word}: write NAME=PATH, or the path alone.")
        if name in found:
            raise UsageError(f"two models are called {name}; give names: NAME=PATH.")
        found[name] = Source(name, path, engine, dtype, vocab, allow_pickle)
    return list(found.values())
