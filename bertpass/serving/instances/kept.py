"""The models of a server as its processes read them: read and packed once, and kept in open files of the server's own.

Nobody else can change, replace, cut or remove these files, for they have no names. So an instance can be started again
whatever becomes of a model's own files, and computes what those before it computed.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import tempfile
import threading
from collections.abc import Sequence
from typing import BinaryIO

import numpy as np

from bertpass import machine
from bertpass.engines import native
from bertpass.errors import ModelError
from bertpass.model.files import mapping
from bertpass.model.layouts import packed
from bertpass.model.record import Checkpoint, PackedCheckpoint
from bertpass.serving.instances.models import Opened, Source, mask_of, pooled_only
from bertpass.serving.instances.ways import Ways

log = logging.getLogger("bertpass.serving")

_HUGE_PAGE = 1 << 21


@dataclasses.dataclass(frozen=True)
class Held:
    """A model in an open file that a process inherits.

    ``shared`` says that the packed layers are used where they are, as of a file of bertpass pack. Else each process
    copies them into memory of its own: that has huge pages and is on the process's own NUMA node. The tables of
    embeddings, of which a row reads little, are always shared. ``mask`` is the id of the tokenizer's [MASK], if any.
    """

    name: str
    file: int
    shared: bool
    mask: int | None = None

    def checkpoint(self) -> Checkpoint:
        """The model, mapped."""
        return packed.read(f"/proc/self/fd/{self.file}")

    def load(self, checkpoint: Checkpoint, threads: int) -> Ways:
        """The engines that compute it."""
        if not self.shared and isinstance(checkpoint, PackedCheckpoint):
            checkpoint = dataclasses.replace(checkpoint, layers=_copied(checkpoint.layers))
            mapping.release(checkpoint.params.values())
        return Ways(lambda head: native.from_checkpoint(dataclasses.replace(checkpoint, head=head), threads=threads),
                    pooled_only(checkpoint), self.mask)


def _copied(layers: np.ndarray) -> np.ndarray:
    """The same bytes in memory of this process, from the beginning of a huge page on."""
    room = np.empty(len(layers) + _HUGE_PAGE, np.uint8)  # NumPy asks for huge pages; what is not used is not taken
    start = -room.ctypes.data % _HUGE_PAGE
    copy = room[start:start + len(layers)]
    copy[:] = layers
    return copy


class Kept:
    """The models of one server.

    Parameters
    ----------
    models
        As they were read; they are let go once they are packed.
    """

    def __init__(self, models: Sequence[Opened]) -> None:
        self._opened, self._count = list(models), len(models)
        self._prints = {model.source.name: (model.source, model.files) for model in models}
        self._held: list[Source | Held] = []
        self._files: list[BinaryIO] = []
        self._lock = threading.Lock()
        self._told: set[str] = set()

    def __len__(self) -> int:
        return self._count

    def models(self) -> list[Source | Held]:
        """What a process loads. The first call packs the models; others wait for it. ModelError where that fails."""
        with self._lock:
            while self._opened:
                self._held.append(self._keep(self._opened[0]))
                del self._opened[0]
            return list(self._held)

    @property
    def files(self) -> list[int]:
        """The open files that a process has to inherit."""
        return [file.fileno() for file in self._files]

    def changes(self) -> dict[str, str]:
        """The models whose own files are not as they were read any more: name -> "changed" or "gone"."""
        found = {}
        for name, (source, before) in self._prints.items():
            now = source.files()
            if now != before:
                found[name] = "changed" if now else "gone"
        return found

    def tell_changes(self) -> None:
        """Log :meth:`changes`, each once."""
        for name, what in self.changes().items():
            if name not in self._told:
                self._told.add(name)
                log.warning("the files of %s (%s) are %s since this server read them; it goes on with what it read. "
                            "Start the server again to serve others.", name, self._prints[name][0].path, what)

    def close(self) -> None:
        """Let the files go; processes that have them keep theirs."""
        for file in self._files:
            file.close()
        self._files = []

    def _keep(self, model: Opened) -> Source | Held:
        source, checkpoint = model.source, model.checkpoint
        if source.engine == "dummy":
            return source
        bare = dataclasses.replace(checkpoint, tokenizer=None)  # engines take ids
        try:
            file = _written(bare, model.choice.dtype)
        except (OSError, MemoryError) as error:
            raise ModelError(f"{source.name}: there is no room to keep the model ({error}); give more memory, or a "
                             "TMPDIR with room.") from error
        self._files.append(file)
        return Held(source.name, file.fileno(), isinstance(checkpoint, PackedCheckpoint), mask_of(checkpoint))


def _written(checkpoint: Checkpoint, dtype: str) -> BinaryIO:
    """An open file without a name, which holds the packed model: in TMPDIR, or in memory where it cannot be there."""
    try:
        file: BinaryIO = tempfile.TemporaryFile(prefix="bertpass-")  # noqa: SIM115 - open for as long as the server is
        return _dumped(file, checkpoint, dtype)
    except OSError as error:
        log.info("a model is kept in memory, and not in %s (%s).", os.environ.get("TMPDIR", "TMPDIR"),
                 error.strerror or error)
    return _dumped(os.fdopen(os.memfd_create("bertpass"), "w+b"), checkpoint, dtype)


def _dumped(file: BinaryIO, checkpoint: Checkpoint, dtype: str) -> BinaryIO:
    try:
        packed.dump(file, checkpoint, dtype, machine.threads())
        file.flush()
    except BaseException:
        file.close()
        raise
    return file
