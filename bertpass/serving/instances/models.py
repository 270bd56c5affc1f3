"""The models that are served: their names, what is known of them without an engine, and their engines."""

from __future__ import annotations

import contextlib
import itertools
import os
from dataclasses import dataclass, field, replace
from pathlib import Path

from bertpass.engines import native, precision
from bertpass.errors import UsageError
from bertpass.model.checkpoint import load_checkpoint
from bertpass.model.config import HeadConfig
from bertpass.model.files import mapping
from bertpass.model.given import FOR_PARAMS, Given, is_params
from bertpass.model.record import Checkpoint
from bertpass.serving.instances import dummy
from bertpass.serving.instances.ways import Ways
from bertpass.serving.names import named
from bertpass.serving.options import ServeOptions

#: of a folder, whose changes are noticed
_MOST_FILES = 1000


@dataclass(frozen=True)
class Source:
    """Where a model comes from and what computes it; small, so that it travels to a process.

    ``name`` is what clients call it, ``given`` what the flags say of it; the others are fields of ServeOptions.
    """

    name: str
    path: str
    engine: str
    dtype: str | None = None
    given: Given = field(default_factory=Given)

    def checkpoint(self) -> Checkpoint:
        """The model's configuration, tokenizer and mapped weights; ModelError where it cannot be read."""
        if self.engine == "dummy":
            return dummy.checkpoint(self.path)
        return load_checkpoint(self.path, packed=True, given=self.given)

    def load(self, checkpoint: Checkpoint, threads: int) -> Ways:
        """The engines that compute it."""
        if self.engine == "dummy":
            pace = dummy.named(self.path)[1]
            return Ways(lambda head: dummy.DummyEngine(checkpoint.config, head, pace), pooled_only(checkpoint),
                        mask_of(checkpoint))
        return Ways(lambda head: native.from_checkpoint(replace(checkpoint, head=head), dtype=self.dtype,
                                                        threads=threads), pooled_only(checkpoint), mask_of(checkpoint))

    def files(self) -> dict[str, tuple[int, int, int]]:
        """The model's files with what tells whether they are still the same: time of change, size and inode. Empty
        where it is no path here, as of a name or of the hub."""
        if self.engine == "dummy":
            return {}
        path = Path(os.path.expanduser(self.path))
        found = {}
        for each in [path] if path.is_file() else itertools.islice(path.rglob("*"), _MOST_FILES):
            with contextlib.suppress(OSError):  # it went away just now
                if each.is_file():
                    about = each.stat()
                    found[str(each)] = about.st_mtime_ns, about.st_size, about.st_ino
        return found


def pooled_only(checkpoint: Checkpoint) -> HeadConfig:
    """The head without a scaling of its own to length 1, unless layers follow it: a request says whether its embeddings
    are scaled."""
    head = checkpoint.head
    return head if checkpoint.sentence.layers else replace(head, normalize=False)


def mask_of(checkpoint: Checkpoint) -> int | None:
    """The id of [MASK]; None where there is no tokenizer or it has none."""
    return None if checkpoint.tokenizer is None else checkpoint.tokenizer.mask_id


@dataclass(frozen=True)
class Opened:
    """A model that was read once for all processes: ``source`` names the precision that ``choice`` explains, so that
    every instance, and every one that is started again, computes in it. ``files`` are those of ``source`` as they were
    when it was read."""

    source: Source
    checkpoint: Checkpoint
    choice: precision.Choice
    files: dict[str, tuple[int, int, int]]


def opened(source: Source) -> Opened:
    """Read a model and settle its precision; ModelError where it cannot be read, UsageError for the precision of a
    packed file."""
    files = source.files()
    checkpoint = source.checkpoint()
    if source.engine == "dummy":
        return Opened(source, checkpoint, precision.Choice("float32"), files)
    choice = native.chosen(checkpoint, source.dtype)
    mapping.release(checkpoint.params.values())
    return Opened(replace(source, dtype=choice.dtype), checkpoint, choice, files)


def models_of(options: ServeOptions) -> list[Source]:
    """The models that the options name, PATH or NAME=PATH.

    Raises
    ------
    UsageError
        None is named, a name is there twice, a word is none (:func:`bertpass.serving.names.named`), the precision is
        none, or a flag is for a .params file and none of the models is one.
    """
    if options.dtype is not None:
        precision.check(options.dtype, None)
    if not options.models:
        raise UsageError("name a model to serve, as in: bertpass serve minilm.")
    found: dict[str, Source] = {}
    for word in options.models:
        name, path = named(word)
        if name in found:
            raise UsageError(f"two models are called {name}; give names: NAME=PATH.")
        found[name] = Source(name, path, options.engine, options.dtype, options.given.of(path))
    for flag in FOR_PARAMS:
        value = getattr(options, flag)
        if value is not None and not any(is_params(source.path) for source in found.values()):
            raise UsageError(f"--{flag} {value}: that is for a .params file, and none of the models is one.")
    return list(found.values())
