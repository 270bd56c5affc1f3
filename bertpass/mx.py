"""The one module that imports MXNet and GluonNLP; everything else does ``from bertpass.mx import mx, nlp``.

Before the import it

- restores the NumPy names that MXNet 1.x still uses (``np.bool`` and friends, gone since NumPy 1.24),
- sets OMP_NUM_THREADS from the CPU affinity and the cgroup quota where nobody has set it (MXNet by itself takes half
  of the processors),
- makes the CUDA 11 libraries of the ``nvidia-*-cu11`` packages findable without LD_LIBRARY_PATH,

and a missing MXNet becomes a :class:`~bertpass.errors.MissingDependencyError` with a sentence.
"""

from __future__ import annotations

import atexit
import ctypes
import functools
import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bertpass import machine
from bertpass.errors import DeviceError, MissingDependencyError, PassError
from bertpass.extras import command

_TOO_NEW = (3, 13)  # Python: NumPy 1.26, the last one that MXNet 1.9.1 works with, is not built for it
_CUDA_LIBRARIES = (  # in the order of their dependencies
    "cuda_runtime", "cuda_nvrtc", "cublas", "cufft", "curand", "cusparse", "cusolver", "cudnn", "nccl",
)


def _restore_numpy_names() -> None:
    import numpy as np

    for name, kind in (("bool", bool), ("object", object), ("int", int), ("float", float), ("complex", complex),
                       ("str", str)):
        if name not in np.__dict__:
            setattr(np, name, kind)


def _installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def preload_cuda() -> None:
    """Open the CUDA 11 libraries of the nvidia-*-cu11 packages globally, so that libmxnet.so resolves them."""
    spec = importlib.util.find_spec("nvidia")
    if spec is None or not spec.submodule_search_locations:
        return
    for root in spec.submodule_search_locations:
        for package in _CUDA_LIBRARIES:
            for path in sorted((Path(root) / package / "lib").glob("lib*.so.*")):
                try:
                    ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
                except OSError:  # a library that needs a later one: libmxnet's own error says which is missing
                    continue


def why_not(error: ImportError, builds: list[str]) -> str:
    """Why MXNet cannot be imported, and what to do, by the builds of it that are installed."""
    if not builds:
        if sys.version_info >= _TOO_NEW:
            return (f"MXNet 1.9.1 needs Python {'.'.join(map(str, _TOO_NEW[:-1]))}.{_TOO_NEW[-1] - 1} or earlier, and "
                    f"this is {'.'.join(map(str, sys.version_info[:2]))}; deploy, the mxnet engine and training "
                    "through MXNet need it, so use them in another environment. The rest of bertpass does not.")
        return (f"MXNet cannot be imported ({error}); install it with: {command('mxnet')} (for a GPU cu102, cu112 or "
                "cu117 in place of mxnet). Deploy, the mxnet engine and training through MXNet need it; the native "
                "engine (engine='native', bertpass embed, predict, serve) does not.")
    if (error.name or "").partition(".")[0] in ("distutils", "pkg_resources", "setuptools"):
        return (f"MXNet is installed, but it imports {error.name}, which is part of setuptools from Python 3.12 on; "
                "install that with: pip install setuptools.")
    return (f"MXNet ({builds[0]}) is installed but cannot be imported ({error}); install what is missing, or all of it "
            f"again: pip install --force-reinstall '{builds[0]}==1.9.1'.")


def _import() -> tuple[Any, Any]:
    builds = [n for n in ("mxnet", "mxnet-cu102", "mxnet-cu112", "mxnet-cu117") if _installed(n)]
    if len(builds) > 1:
        warnings.warn(
            f"several MXNet builds are installed over each other ({', '.join(builds)}): uninstall all of them and "
            "install one (pip install '.[cu117]' takes the GPU build alone)",
            RuntimeWarning, stacklevel=3)
    _restore_numpy_names()
    os.environ.setdefault("OMP_NUM_THREADS", str(machine.usable_cpus()))
    if any("-cu" in b for b in builds):
        preload_cuda()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import mxnet
    except ImportError as error:
        raise MissingDependencyError(why_not(error, builds)) from error
    except OSError as error:
        raise MissingDependencyError(
            f"MXNet is installed but its libraries do not load ({error}); for a GPU build install the matching extra: "
            "pip install '.[cu117]'.") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import gluonnlp
    except ImportError as error:
        raise MissingDependencyError(
            f"GluonNLP cannot be imported ({error}); install it with: {command('mxnet')}.") from error
    return mxnet, gluonnlp


mx, nlp = _import()


def version() -> tuple[int, int, int]:
    """MXNet's version as three numbers."""
    major, minor, patch = (mx.__version__.split(".") + ["0", "0"])[:3]
    return int(major), int(minor), int("".join(c for c in patch if c.isdigit()) or 0)


def context(gpu: int | None) -> Any:
    """The MXNet context of GPU number ``gpu``, or of the CPU for ``None``.

    Raises
    ------
    DeviceError
        The GPU is not there, or MXNet was built without CUDA. Meant to be called before any long work.
    """
    if gpu is None:
        return mx.cpu()
    if not mx.runtime.Features().is_enabled("CUDA"):
        raise DeviceError(
            f"--gpu {gpu}: this MXNet ({mx.__version__}) is a CPU build; install a GPU build "
            "(pip install '.[cu117]') or leave --gpu out.")
    try:
        count = mx.context.num_gpus()
    except mx.base.MXNetError as error:
        raise DeviceError(f"--gpu {gpu}: CUDA does not answer ({str(error).splitlines()[0]}).") from error
    if gpu >= count:
        raise DeviceError(f"--gpu {gpu}: there {'is' if count == 1 else 'are'} {count} GPU"
                          f"{'' if count == 1 else 's'} here; leave --gpu out to run on the CPU.")
    return mx.gpu(gpu)


def message(error: Exception, lines: int = 1) -> str:
    """The first lines of MXNet's text as one sentence, without the error's name, source positions and stack trace."""
    noise = ("Traceback (most recent", "  File ", "Stack trace", "  [bt]")
    said = [line for line in str(error).splitlines() if line.strip() and not line.startswith(noise)][:lines]
    said = [re.sub(r"^\w*Error: ", "", re.sub(r"\[\d\d:\d\d:\d\d\] \S+:\d+: ", "", line)).strip() for line in said]
    return "; ".join(said or ["no reason given"]).rstrip(".") + "."


def load_library(path: str | os.PathLike[str]) -> None:
    """Load an MXNet extension library; every refusal of MXNet's becomes a PassError with one sentence."""
    full = Path(os.path.expanduser(path)).resolve()
    if not full.is_file():
        raise PassError(f"no library at {path}; build it with: python setup.py build_ext --inplace.")
    try:
        mx.library.load(str(full), verbose=False)
    except (mx.base.MXNetError, OSError, ValueError) as error:
        raise PassError(
            f"{path} cannot be loaded as an MXNet extension library: {message(error, lines=2)}") from error


def operator_times(work: Callable[[], object], **what: bool) -> dict[str, dict[str, float]]:
    """MXNet's aggregate statistics of what ``work`` computes, by operator: "Total" in milliseconds, "Count" and others.

    ``what`` are switches of :func:`mx.profiler.set_config`, such as ``profile_all``.
    """
    mx.profiler.set_config(aggregate_stats=True, filename=_profile_file(), **what)
    mx.profiler.set_state("run")
    try:
        work()
        mx.nd.waitall()
    finally:
        mx.profiler.set_state("stop")
        told = mx.profiler.dumps(reset=True, format="json")
    found: dict[str, dict[str, float]] = json.loads(told)["Time"]["operator"]
    return found


@functools.lru_cache(maxsize=1)
def _profile_file() -> str:
    """A file of our own: the profiler removes what stands under its name, at times at the end of the process."""
    folder = tempfile.mkdtemp(prefix="bertpass-profile-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return os.path.join(folder, "profile.json")
