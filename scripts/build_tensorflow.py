#!/usr/bin/env python
"""Build TensorFlow's operator BertpassEncoder, bertpass/libbertpass_tensorflow.so, for the installed TensorFlow.

Both forms are in it: the CPU's, which needs libbertpass.so beside it, and the GPU's, which opens libbertpass_cuda.so
(make cuda) when a model is first put on a GPU. It belongs to one version of TensorFlow: build it again after another
one is installed. Environment: CXX names the compiler.
"""

from __future__ import annotations

import importlib.util
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
    run,
)

LIBRARY = ROOT / "bertpass" / "libbertpass_tensorflow.so"
OPERATOR = SOURCES / "faces" / "tensorflow" / "encoder_op.cc"
def build(out: Path, *, device_form_on_cpu: bool = False) -> None:
    """Compile and link; the library appears whole or not.

    ``device_form_on_cpu``: for tests, with the GPU's form for the CPU as well, under the kernel label "device".
    """
    if importlib.util.find_spec("tensorflow") is None:
        raise BuildError("there is no TensorFlow to build for; install one with: pip install '.[tensorflow]', "
                         "or tensorflow[and-cuda] for a GPU.")
    if not (ROOT / "bertpass" / "libbertpass.so").is_file():
        raise BuildError("bertpass/libbertpass.so is not built; build it with: make build.")
    import tensorflow as tf

    headers = [f"-isystem{flag[2:]}" if flag.startswith("-I") else flag for flag in tf.sysconfig.get_compile_flags()]
    define = ["-DBERTPASS_DEVICE_FORM_ON_CPU"] if device_form_on_cpu else []
    with tempfile.TemporaryDirectory() as folder:
        operator = Path(folder) / "encoder_op.o"
        said = run([*compiler(), *FLAGS, *headers, "-O2", *HOST_FLAGS, *define, "-c", str(OPERATOR), "-o",
                    str(operator)])
        objects = [operator, *compile_device_model(Path(folder))]
        partial = out.with_suffix(".tmp")
        said += run([*compiler(), "-shared", *map(str, objects), "-o", str(partial), f"-L{ROOT / 'bertpass'}",
                     "-l:libbertpass.so", "-Wl,-rpath,$ORIGIN", f"-Wl,-rpath,{ROOT / 'bertpass'}",
                     *tf.sysconfig.get_link_flags(), "-ldl"])
        sys.stderr.write(said)
        partial.replace(out)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return command_of_face(__doc__.partition("\n")[0], LIBRARY, build, argv)


if __name__ == "__main__":
    sys.exit(main())
