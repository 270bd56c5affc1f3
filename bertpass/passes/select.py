"""Which passes there are and which of them run."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Iterable
from dataclasses import dataclass

from bertpass import _core
from bertpass.base.paths import cuda_engine
from bertpass.errors import PassError, unknown

_log = logging.getLogger(__name__)

DEVICES = ("cpu", "gpu")
NATIVE_ENCODER = "native_encoder"


@dataclass(frozen=True)
class PassInfo:
    """One pass: its name, a line of documentation, the devices it runs for by default, and who provides it.

    ``provided_by`` is "core" for the passes of this package and "mxnet" for MXNet's own.
    """

    name: str
    documentation: str
    devices: tuple[str, ...]
    provided_by: str


MKLDNN = PassInfo("mkldnn", "MXNet's own subgraph backend: oneDNN operators with their neighbours fused; the saved "
                  "files then run on CPUs only", ("cpu",), "mxnet")


def available() -> list[PassInfo]:
    """Every pass, in the order in which they run."""
    core = [PassInfo(name, documentation, devices, "core") for name, documentation, devices in _core.passes()]
    return [*core, MKLDNN]


def has_mxnet() -> bool:
    """Whether an MXNet is installed; does not import it."""
    return importlib.util.find_spec("mxnet") is not None


def _pays(info: PassInfo, device: str) -> bool:
    """Whether what computes the graphs of the pass is there."""
    if info.name == NATIVE_ENCODER and device == "gpu":
        return cuda_engine().is_file()
    return info.provided_by == "core" or has_mxnet()


def select(passes: str | Iterable[str] = "auto", device: str = "cpu") -> list[PassInfo]:
    """The passes to run.

    Parameters
    ----------
    passes : "auto" for those that ``device`` runs by default (without MXNet's own where MXNet is not installed, and on
        a GPU without native_encoder where the CUDA engine is not built), "none", a name, several separated by commas,
        or several in a sequence. Given names run in the order given, except that MXNet's own come last: they hide from
        the others what they have taken. The published names (AddBiasGelu, MHAInterleave, MaskSoftmax) are taken too;
        MaskSoftmax changes nothing, and the log says so.
    device : "cpu" or "gpu"

    Raises
    ------
    PassError
        A name or the device is unknown, or a name is given twice.
    """
    if device not in DEVICES:
        raise PassError(unknown("device", device, DEVICES))
    known = {info.name: info for info in available()}
    if passes == "auto":
        return [info for info in known.values() if device in info.devices and _pays(info, device)]
    if passes == "none":
        return []
    names = [name.strip() for name in passes.split(",")] if isinstance(passes, str) else list(passes)
    published = _core.published_passes()
    for name in names:
        if name not in known and name not in published:
            raise PassError(unknown("pass", name, [*known, *published]))
    names = [published.get(name, name) for name in names]
    for name in names:
        if names.count(name) > 1:
            raise PassError(f"the pass '{name}' is given twice; name each pass once.")
        if name not in known:
            _log.warning("%s changes nothing here: native_encoder computes the softmax over the valid tokens", name)
    return sorted((known[name] for name in names if name in known), key=lambda info: info.provided_by == "mxnet")
