"""Builds the native files of bertpass, and adds MXNet to the requirements where it is asked for; the rest is in
pyproject.toml.

``bertpass/_core*.so`` (Python module, pybind11) and ``bertpass/bertpass_lib.so`` (extension library for MXNet) are
compiled from the same graph and pass sources, without MXNet. ``bertpass/_native*.so`` is the CPU engine for Python and
``bertpass/libbertpass.so`` the same for C (``bertpass/include/bertpass.h``). A copy of the library for MXNet goes to
the current folder, where the published recipe looks for it. Several interpreters can build in one tree: they share all
objects but those of ``csrc/python``. Environment: ``CXX`` names the compiler, ``CXXFLAGS`` and ``LDFLAGS`` are
appended, ``BERTPASS_MXNET`` (cpu, cu102, cu112, cu117; none is the default) makes the extra of that MXNet a
requirement. ``python setup.py install`` installs MXNet unless that is none: the published recipe needs it.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.install import install

if sys.version_info < (3, 10):  # noqa: UP036
    raise SystemExit(f"error: bertpass needs Python 3.10 or later, and this is {sys.version.split()[0]}; make an "
                     "environment with one, as in: python3.11 -m venv .venv")

ROOT = Path(__file__).resolve().parent
SOURCES = ROOT / "bertpass" / "csrc"
INCLUDE = ROOT / "bertpass" / "include"
LIBRARY = "bertpass.bertpass_lib"
C_LIBRARY = "bertpass.libbertpass"
# The engine's threads outlive every use of it, so its code may not be unmapped.
THREADS = ["-pthread", "-Wl,-z,nodelete"]
COMPILE = ["-std=c++17", "-O3", "-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra"]
# The engine's kernels are one source compiled for several instruction sets; which one runs is chosen at run time.
AVX512 = ["-mfma", "-mf16c", "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx512vnni",
          "-Wno-uninitialized", "-Wno-maybe-uninitialized"]  # false alarms of GCC 12 (its bug 105593)
SOURCE_FLAGS = {}
#: the processor that is built for; _PYTHON_HOST_PLATFORM=linux-aarch64 names another than this one
MACHINE = sysconfig.get_platform().rpartition("-")[2]
#: objects that Python's headers went into are this interpreter's alone
PYTHON_KIND = f"-{sysconfig.get_config_var('SOABI')}"
if MACHINE in ("aarch64", "arm64"):
    SOURCE_FLAGS.update({
        "bertpass/csrc/kernels/neon_dot.cc": ["-march=armv8.2-a+dotprod"],
        "bertpass/csrc/kernels/neon_bf16.cc": ["-march=armv8.2-a+dotprod+bf16"],
    })
if MACHINE in ("x86_64", "amd64"):
    SOURCE_FLAGS.update({
        "bertpass/csrc/kernels/avx2.cc": ["-mavx2", "-mfma", "-mf16c"],
        "bertpass/csrc/kernels/avx512.cc": AVX512,
        "bertpass/csrc/kernels/avx512_bf16.cc": [*AVX512, "-mavx512bf16"],
        "bertpass/csrc/kernels/amx.cc": [*AVX512, "-mavx512bf16"],  # tiles are written in assembly
        "bertpass/csrc/kernels/amx_emulated.cc": ["-mavx2", "-mfma", "-mf16c"],
    })

REQUIRES = [
    "numpy>=1.23.5",
    "tokenizers>=0.20,<0.24",
    "regex>=2023.8",
    "safetensors>=0.5",
    "rich>=13",
    "packaging",
    "huggingface_hub>=0.24",
    "tomli>=2; python_version < '3.11'",
]
#: BERTPASS_MXNET -> the extra of pyproject.toml
MXNET = {"cpu": "mxnet", "cu102": "cu102", "cu112": "cu112", "cu117": "cu117", "none": ""}


def extra_of_mxnet(default):
    """The extra that BERTPASS_MXNET names, or an empty string."""
    choice = os.environ.get("BERTPASS_MXNET") or default
    if choice not in MXNET:
        raise SystemExit(f"error: BERTPASS_MXNET={choice} is not known; use one of {', '.join(MXNET)}.")
    return MXNET[choice]


def requirements(name):
    """What the package needs, with all that the extra of this name needs."""
    if not name:
        return REQUIRES
    from setuptools.compat.py310 import tomllib

    with (ROOT / "pyproject.toml").open("rb") as file:
        extras = tomllib.load(file)["project"]["optional-dependencies"]

    def of(extra):
        for one in extras[extra]:
            inner = re.fullmatch(r"bertpass\[(.+)\]", one)
            yield from of(inner[1]) if inner else [one]

    return [*REQUIRES, *of(name)]


def header_folders():
    """The include folders of every source, and those that sources of Python modules have as well."""
    try:
        import nlohmann_json
        import pybind11
    except ImportError as error:
        raise SystemExit(f"error: building bertpass needs the package {error.name}; install the build requirements "
                         "with: pip install 'pybind11>=2.11' 'nlohmann-json==3.12.0'") from error
    return ([SOURCES, INCLUDE, Path(nlohmann_json.get_include())],
            [Path(pybind11.get_include()), Path(sysconfig.get_paths()["include"])])


def run(command):
    """Run a compiler; its own words go to standard error, and a failure ends the build."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    except OSError as error:
        raise SystemExit(f"error: the C++ compiler '{command[0]}' cannot be run ({error.strerror}); install g++ or "
                         "name a C++17 compiler in CXX.") from error
    if done.stdout:
        sys.stderr.write(done.stdout)
    if done.returncode:
        raise SystemExit(f"error: '{command[0]}' failed with exit code {done.returncode} at: {shlex.join(command)}")


def newest(paths):
    return max(path.stat().st_mtime_ns for path in paths)


def kind_of(source):
    """The kind of a source's object: empty, or for sources that see Python's headers the interpreter's own."""
    return PYTHON_KIND if source.startswith("bertpass/csrc/python/") else ""


class NativeBuild(build_ext):
    """Compiles each source once, in parallel, and links the objects into the files that need them."""

    def initialize_options(self):
        super().initialize_options()
        self.parallel = os.cpu_count()

    def get_ext_filename(self, fullname):
        parts = fullname.split(".")  # setuptools asks with and without the package's name
        plain = [name.split(".")[-1] for name in (LIBRARY, C_LIBRARY)]
        if parts[-1] in plain:  # not loaded by Python: no suffix for an interpreter
            return os.path.join(*parts) + ".so"
        return super().get_ext_filename(fullname)

    def run(self):
        super().run()
        built = Path(self.get_ext_fullpath(LIBRARY))
        if built.resolve() != (Path.cwd() / built.name).resolve():
            shutil.copy2(built, Path.cwd() / built.name)
        for extension in self.extensions:  # Python started in this folder takes the package from here
            made = Path(self.get_ext_fullpath(extension.name))
            here = ROOT / "bertpass" / made.name
            if made.resolve() != here.resolve():
                partial = here.with_suffix(".tmp")
                shutil.copy2(made, partial)
                partial.replace(here)

    def build_extensions(self):
        self.compiler_command = shlex.split(os.environ.get("CXX") or "g++")
        self.objects = ROOT / "build" / "objects"  # not build_temp, which pip makes anew for each editable installation
        self.objects.mkdir(parents=True, exist_ok=True)
        plain, python = header_folders()
        flags = COMPILE + [f"-I{folder}" for folder in plain] + shlex.split(os.environ.get("CXXFLAGS", ""))
        self.kinds = {"": flags, PYTHON_KIND: flags + [f"-I{folder}" for folder in python]}
        headers = newest([*SOURCES.rglob("*.h"), *INCLUDE.glob("*.h"), Path(__file__)])
        self.oldest = {kind: max(headers, self.stamp(kind)) for kind in self.kinds}
        sources = sorted({source for extension in self.extensions for source in extension.sources})
        with ThreadPoolExecutor(self.parallel or 1) as pool:
            list(pool.map(self.compile, sources))
        super().build_extensions()

    def stamp(self, kind):
        """When the command of these objects changed last: another compiler or flag makes every one of them old."""
        stamp = self.objects / f"command{kind}"
        command = shlex.join([*self.compiler_command, *self.kinds[kind]])
        if not stamp.exists() or stamp.read_text() != command:
            stamp.write_text(command)
        return newest([stamp])

    def object_of(self, source):
        return self.objects / (str(Path(source).with_suffix("")).replace(os.sep, "-") + kind_of(source) + ".o")

    def compile(self, source):
        out, kind = self.object_of(source), kind_of(source)
        oldest = max(newest([ROOT / source]), self.oldest[kind])
        if not self.force and out.exists() and out.stat().st_mtime_ns >= oldest:
            return
        partial = out.with_suffix(".tmp.o")
        run([*self.compiler_command, *self.kinds[kind], *SOURCE_FLAGS.get(source, []), "-c", str(ROOT / source),
             "-o", str(partial)])
        partial.replace(out)

    def build_extension(self, ext):
        objects = [self.object_of(source) for source in ext.sources]
        out = Path(self.get_ext_fullpath(ext.name))
        exports = [Path(path) for path in ext.depends]
        if not self.force and out.exists() and out.stat().st_mtime_ns >= newest([*objects, *exports]):
            return
        out.parent.mkdir(parents=True, exist_ok=True)
        partial = out.with_suffix(".tmp")  # a loaded library is replaced, never written over
        run([*self.compiler_command, "-shared", *map(str, objects), "-o", str(partial), *ext.extra_link_args,
             *shlex.split(os.environ.get("LDFLAGS", ""))])
        partial.replace(out)


def sources(*folders):
    return sorted(str(path.relative_to(ROOT)) for folder in folders for path in (SOURCES / folder).glob("*.cc"))


class Install(install):
    """``python setup.py install`` of the published recipe: the requirements come too, MXNet among them."""

    def run(self):
        super().run()
        if self.root or self.user or self.home or "install" not in sys.argv[1:]:  # a wheel in the making, other folders
            return
        wanted = requirements(extra_of_mxnet("cpu"))
        if subprocess.run([sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "-q", *wanted],
                          check=False).returncode:
            raise SystemExit("error: bertpass is installed, but not all that it needs; see what pip says above.")


ENCODER = sources("kernels", "schema", "ops", "layer", "encoder")
# What a forward on a GPU needs; the rest of that folder is built by scripts for the framework that is installed.
FACES = [f"bertpass/csrc/faces/{name}.cc" for name in ("cuda_library", "device_model")]


def exports(folder):
    """The list of what a library shows of itself."""
    return str((SOURCES / folder / "exports.map").relative_to(ROOT))


def version_script(folder):
    return f"-Wl,--version-script={ROOT / exports(folder)}"


setup(
    install_requires=requirements(extra_of_mxnet("none")),
    ext_modules=[
        Extension("bertpass._core", [*sources("graph", "passes", "schema", "ops", "layer"),
                                     *(f"bertpass/csrc/{name}.cc" for name in ("encoder/packed", "python/module"))],
                  extra_link_args=["-s", *THREADS]),
        Extension("bertpass._native", [*ENCODER, *sources("model"),
                                       *(f"bertpass/csrc/python/{name}.cc" for name in ("native", "lab", "peak"))],
                  extra_link_args=["-s", *THREADS]),
        Extension(C_LIBRARY, [*ENCODER, *sources("model", "capi")], depends=[exports("capi")],
                  extra_link_args=["-s", *THREADS, "-Wl,-soname,libbertpass.so", version_script("capi")]),
        Extension(LIBRARY, [*ENCODER, *sources("graph", "passes", "training", "mxnet_abi"), *FACES],
                  depends=[exports("mxnet_abi")],
                  extra_link_args=["-s", version_script("mxnet_abi"), *THREADS, "-ldl"]),
    ],
    cmdclass={"build_ext": NativeBuild, "install": Install},
    exclude_package_data={"bertpass": ["csrc/*"]},  # part of the source archive, not of the installed package
    zip_safe=False,
)
