#!/usr/bin/env python
"""Build TensorRT's plugin BertpassEncoder, bertpass/libbertpass_tensorrt.so.

It needs TensorRT's public headers (10 or later) and CUDA's, no library of either: TensorRT loads the plugin, which
opens libbertpass_cuda.so (make cuda). It was never run under TensorRT. Environment: TENSORRT_INCLUDE names the headers'
folder, CXX the compiler, NVCC the nvcc beside which CUDA's headers lie.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from build_cuda import (
    FLAGS,
    HOST_FLAGS,
    ROOT,
    SOURCES,
    BuildError,
    command_of_face,
    compile_device_model,
    compiler,
    find_nvcc,
    run,
    toolkit_of,
)

LIBRARY = ROOT / "bertpass" / "libbertpass_tensorrt.so"
PLUGIN = SOURCES / "faces" / "tensorrt" / "encoder_plugin.cc"
#: where NVIDIA's packages put the headers
PLACES = ("/usr/include/x86_64-linux-gnu", "/usr/include/aarch64-linux-gnu", "/usr/include")


def header_flags() -> list[str]:
    """The compiler's flags for TensorRT's headers and CUDA's; BuildError where one of them is missing."""
    named = os.environ.get("TENSORRT_INCLUDE")
    places = [named] if named else PLACES
    folder = next((place for place in places if Path(place, "NvInferRuntime.h").is_file()), None)
    if folder is None:
        raise BuildError("there are no headers of TensorRT (NvInferRuntime.h) in "
                         f"{named or 'the usual places'}; name their folder in TENSORRT_INCLUDE (they are the folder "
                         "include/ of NVIDIA's repository TensorRT on GitHub).")
    return [f"-isystem{folder}", f"-isystem{toolkit_of(find_nvcc()) / 'include'}"]


def build(out: Path) -> None:
    """Compile and link; the library appears whole or not."""
    flags = header_flags()
    with tempfile.TemporaryDirectory() as folder:
        plugin = Path(folder) / "encoder_plugin.o"
        said = run([*compiler(), *FLAGS, *flags, "-O2", *HOST_FLAGS, "-c", str(PLUGIN), "-o", str(plugin)])
        objects = [plugin, *compile_device_model(Path(folder))]
        partial = out.with_suffix(".tmp")
        said += run([*compiler(), "-shared", *map(str, objects), "-o", str(partial), "-Wl,--no-undefined", "-ldl"])
        sys.stderr.write(said)
        partial.replace(out)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return command_of_face(__doc__.partition("\n")[0], LIBRARY, build, argv)


if __name__ == "__main__":
    sys.exit(main())
