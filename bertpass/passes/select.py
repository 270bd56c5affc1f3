"""Which passes there are and which of them run. The list and the choice are those of ``bertpass/csrc/passes``."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Iterable

from bertpass import _core
from bertpass.base.paths import cuda_engine

PassInfo = _core.PassInfo
Passes = str | Iterable[str | PassInfo]  #: "auto", "none", names, or a choice that was made

_log = logging.getLogger(__name__)


def available() -> list[PassInfo]:
    """Every pass, in the order in which they run."""
    return _core.passes()


def taking(option: str) -> list[str]:
    """Names of the passes that take an option, "dtype" or "device"."""
    return [info.name for info in available() if option in info.options]


def has_mxnet() -> bool:
    """Whether an MXNet is installed; does not import it."""
    return importlib.util.find_spec("mxnet") is not None


def select(passes: Passes = "auto", device: str = "cpu", dtype: str = "float32") -> list[PassInfo]:
    """The passes to run.

    Parameters
    ----------
    passes : "auto" for those that ``device`` runs by default (without MXNet's own where MXNet is not installed, and on
        a GPU without native_encoder where the CUDA engine is not built), "none", a name, several separated by commas,
        or several in a sequence. Given names run in the order given, except that MXNet's own come last: they hide from
        the others what they have taken. The published names (AddBiasGelu, MHAInterleave, MaskSoftmax) are taken too;
        MaskSoftmax changes nothing, and the log says so.
    device : "cpu" or "gpu"
    dtype : precision of the encoders that a pass puts in, see :func:`~bertpass.passes.optimize_graph`

    Raises
    ------
    PassError
        A name or the device is unknown, a name is given twice, or no chosen pass takes a dtype other than float32.
    """
    asked = [passes] if isinstance(passes, str) else [one if isinstance(one, str) else one.name for one in passes]
    chosen, notes = _core.select(asked, device, dtype, has_mxnet(), cuda_engine().is_file())
    for note in notes:
        _log.warning("%s", note)
    return chosen
