#!/usr/bin/env python
"""Build the CUDA engine, bertpass/libbertpass_cuda.so, or its twin for the CPU.

Nothing else of bertpass needs either. nvcc is looked for in NVCC, in PATH, in CUDA_HOME, in /usr/local/cuda*/bin and in
the packages that pip install '.[cuda]' brings; cuBLASLt is opened when a model is loaded and is not needed here.
The twin is the same source made by g++ (bertpass/csrc/cuda/twin): slow, and what the tests run without a GPU.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "bertpass" / "csrc"
LIBRARY = ROOT / "bertpass" / "libbertpass_cuda.so"
#: what the library is built for; PTX of the last one as well, for GPUs that come later
ARCHITECTURES = ("75", "80", "86", "89", "90a")
FLAGS = ["-std=c++17", f"-I{SOURCES}", f"-I{ROOT / 'bertpass' / 'include'}"]
HOST_FLAGS = ["-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra"]
FOLDERS = ("kernels", "gemm", "layer", "encoder", "capi")


class BuildError(Exception):
    """The text is a sentence that says what to do."""


def sources(twin: bool) -> list[Path]:
    """All source files: kernels (.cu) first."""
    folders = [*FOLDERS, "twin"] if twin else FOLDERS
    found = [path for folder in folders for path in sorted((SOURCES / "cuda" / folder).iterdir())]
    files = [path for path in found if path.suffix in (".cu", ".cc")]
    shared = [SOURCES / "encoder" / "inputs.cc", *sorted((SOURCES / "schema").glob("*.cc"))]  # with the CPU engine
    return sorted(files, key=lambda path: path.suffix != ".cu") + shared


def json_flag() -> str:
    """The compiler's flag for the headers that read JSON; BuildError where they are not installed."""
    try:
        import nlohmann_json
    except ImportError as error:
        raise BuildError("this needs the package nlohmann-json; install it with: pip install nlohmann-json==3.12.0."
                         ) from error
    return f"-isystem{nlohmann_json.get_include()}"


def find_nvcc() -> Path:
    """nvcc; BuildError where there is none."""
    packages = Path(sysconfig.get_paths()["purelib"]) / "nvidia" / "cu13" / "bin" / "nvcc"
    home = os.environ.get("CUDA_HOME")
    places = [os.environ.get("NVCC"), shutil.which("nvcc"), home and f"{home}/bin/nvcc",
              *sorted(map(str, Path("/usr/local").glob("cuda*/bin/nvcc")), reverse=True), packages]
    for place in places:
        if place and Path(place).is_file():
            return Path(place)
    raise BuildError("there is no nvcc; install one with: pip install '.[cuda]', or name it in NVCC.")


def toolkit_of(nvcc: Path) -> Path:
    """The folder that holds nvcc's include and lib folders; BuildError where its runtime is not there."""
    said = run([str(nvcc), "--dryrun", "-x", "cu", "-c", os.devnull, "-o", os.devnull])
    for line in said.splitlines():
        name, _, value = line.removeprefix("#$ ").partition("=")
        if name.strip() == "TOP" and (Path(value.strip()) / "include" / "cuda_runtime_api.h").is_file():
            return Path(value.strip()).resolve()
    raise BuildError(f"{nvcc} is there, but not the CUDA runtime's headers beside it; install them with: "
                     "pip install '.[cuda]'.")


def compiler() -> list[str]:
    """The C++ compiler and its flags, of CXX."""
    return shlex.split(os.environ.get("CXX") or "g++")


def run(command: Sequence[str]) -> str:
    """The output of a compiler; BuildError with its own words where it fails."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    except OSError as error:
        raise BuildError(f"'{command[0]}' cannot be run ({error.strerror}); install g++ and nvcc.") from error
    if done.returncode:
        raise BuildError(f"{done.stdout}'{command[0]}' failed with exit code {done.returncode} at: "
                         f"{shlex.join(command)}")
    return done.stdout


def code_flags(architectures: Sequence[str]) -> list[str]:
    """nvcc's flags for machine code of each architecture, and PTX of the newest."""
    flags = [f"-gencode=arch=compute_{name},code=sm_{name}" for name in architectures]
    newest = max(int(name.rstrip("a")) for name in architectures)
    return [*flags, f"-gencode=arch=compute_{newest},code=compute_{newest}"]


def compile_gpu(source: Path, out: Path, architectures: Sequence[str], nvcc: Path, toolkit: Path, *more: str) -> str:
    """One object file; returns what the compiler said."""
    if source.suffix == ".cu":
        return run([str(nvcc), *FLAGS, "-O3", "-Xcompiler", ",".join(HOST_FLAGS), *code_flags(architectures), *more,
                    "-c", str(source), "-o", str(out)])
    return run([*compiler(), *FLAGS, "-O2", *HOST_FLAGS, f"-isystem{toolkit / 'include'}", json_flag(), "-c",
                str(source), "-o", str(out)])


def compile_twin(source: Path, out: Path) -> str:
    """One object file of the twin."""
    return run([*compiler(), *FLAGS, "-O2", *HOST_FLAGS, "-Wno-unknown-pragmas", "-DBERTPASS_CUDA_TWIN", json_flag(),
                "-x", "c++", "-c", str(source), "-o", str(out)])


def compile_device_model(folder: Path) -> list[Path]:
    """Object files of a model on a GPU as the operators of other frameworks hold it (csrc/faces)."""
    sources = [*sorted((SOURCES / "faces").glob("*.cc")),
               *(SOURCES / "capi" / f"{name}.cc" for name in ("mapped_file", "safetensors"))]
    objects = [folder / f"{source.stem}.o" for source in sources]
    for source, out in zip(sources, objects, strict=True):
        sys.stderr.write(run([*compiler(), *FLAGS, "-O2", *HOST_FLAGS, json_flag(), "-c", str(source), "-o",
                              str(out)]))
    return objects


def build(out: Path, *, twin: bool = False, architectures: Sequence[str] = ARCHITECTURES, jobs: int = 1) -> None:
    """Compile and link; the library appears whole or not."""
    out.parent.mkdir(parents=True, exist_ok=True)
    nvcc = None if twin else find_nvcc()
    toolkit = toolkit_of(nvcc) if nvcc else None
    with tempfile.TemporaryDirectory() as folder:
        objects = {path: Path(folder) / f"{'-'.join(path.relative_to(SOURCES).parts)}.o" for path in sources(twin)}

        def compile_one(source: Path) -> str:
            if nvcc is None or toolkit is None:
                return compile_twin(source, objects[source])
            return compile_gpu(source, objects[source], architectures, nvcc, toolkit)

        with ThreadPoolExecutor(jobs) as pool:
            for said in pool.map(compile_one, objects):
                sys.stderr.write(said)
        partial = out.with_suffix(".tmp")
        linker = [*compiler(), "-pthread"]
        if nvcc:
            libraries = [f"-L{toolkit}/{name}" for name in ("lib64", "lib")]  # lib: in the packages
            linker = [str(nvcc), "-cudart", "static", "-Xlinker", "--exclude-libs,ALL", "-Xcompiler", "-pthread",
                      *libraries]
        sys.stderr.write(run([*linker, "-shared", *map(str, objects.values()), "-o", str(partial), "-ldl"]))
        partial.replace(out)


def told(out: Path, make: Callable[[Path], None]) -> int:
    """Make a library and say how that went; returns the exit code."""
    try:
        make(out)
    except BuildError as error:
        print(f"error: {error}", file=sys.stderr)
        return 6
    print(f"built {out}")
    return 0


def command_of_face(description: str, library: Path, make: Callable[[Path], None], argv: Sequence[str] | None) -> int:
    """The command line of a script that builds one face of the engine; returns the exit code."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--output", type=Path, default=library, help="library to write (default %(default)s)")
    return told(parser.parse_args(argv).output, make)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--arch", nargs="+", default=list(ARCHITECTURES), metavar="CC",
                        help=f"compute capabilities, as in 75 or 90a (default {' '.join(ARCHITECTURES)})")
    parser.add_argument("--twin", action="store_true", help="the twin for the CPU, which needs no nvcc")
    parser.add_argument("--output", type=Path, default=LIBRARY, help="library to write (default %(default)s)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1,
                        help="compilers at a time (default %(default)s)")
    options = parser.parse_args(argv)
    if not all(name.rstrip("a").isdigit() and int(name.rstrip("a")) >= 75 for name in options.arch):
        parser.error(f"--arch: compute capabilities are as in 75 or 90a, not {' '.join(options.arch)}")
    return told(options.output, lambda out: build(out, twin=options.twin, architectures=options.arch,
                                                  jobs=max(options.jobs, 1)))


if __name__ == "__main__":
    sys.exit(main())
