"""The CPU engine on aarch64: compiled by a cross compiler, run by QEMU's emulation of several processors."""

import os
import re
import runpy
import shlex
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nlohmann_json
import numpy as np
import pytest

from bertpass.engines.native import NativeEngine
from bertpass.model.layouts import packed
from tests.helpers import ROOT, reference
from tests.helpers.built import built, sources

COMPILER, EMULATOR, SYSTEM = "aarch64-linux-gnu-g++", "qemu-aarch64", "/usr/aarch64-linux-gnu"
#: processors of QEMU, and the sets that they have: Cortex-A72 (ARMv8.0), Neoverse N1 (Graviton 2), all that it knows
PROCESSORS = {"cortex-a72": ["portable", "neon"], "neoverse-n1": ["portable", "neon", "neon_dot"],
              "max": ["portable", "neon", "neon_dot", "neon_bf16"]}
SETS = PROCESSORS["max"]
HERE = Path(__file__).parent
pytestmark = [pytest.mark.slow, pytest.mark.skipif(
    not (shutil.which(COMPILER) and shutil.which(EMULATOR)),
    reason="needs a cross compiler and an emulator: apt-get install g++-aarch64-linux-gnu qemu-user")]


def setup_on_aarch64():
    """The names in setup.py, as they are on such a machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("setuptools.setup", lambda **_: None)
        patch.setattr("sysconfig.get_platform", lambda: "linux-aarch64")
        patch.delenv("BERTPASS_MXNET", raising=False)
        return runpy.run_path(str(ROOT / "setup.py"))


def make(folder):
    """libbertpass.so and the two programs, with the flags of setup.py but -O3, which would take three times as long."""
    names = setup_on_aarch64()
    quick = [flag for flag in names["COMPILE"] if flag != "-O3"] + ["-O1"]
    include = [f"-I{path}" for path in (names["SOURCES"], names["INCLUDE"], nlohmann_json.get_include())]

    def run(*command):
        done = subprocess.run([COMPILER, *map(str, command)], capture_output=True, text=True, check=False, cwd=ROOT)
        assert done.returncode == 0 and not done.stderr, f"{shlex.join(map(str, command))}\n{done.stderr}"

    def compiled(source):
        out = folder / (source.replace("/", "-") + ".o")
        run(*quick, *include, *names["SOURCE_FLAGS"].get(source, []), "-c", source, "-o", out)
        return out

    wanted = [*names["ENCODER"], *names["sources"]("model", "capi")]
    wanted.sort(key=lambda source: "/neon" not in source)  # the longest first
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = list(pool.map(compiled, wanted))
    run("-shared", *objects, "-o", folder / "libbertpass.so", "-s", *names["THREADS"], names["version_script"]("capi"))
    run(*quick, *include, HERE / "forward_child.cc", "-o", folder / "forward_child",
        f"-L{folder}", "-lbertpass")
    run(*quick, *include, HERE / "kernels_child.cc", "-o", folder / "kernels_child",
        *(one for source, one in zip(wanted, objects, strict=True) if "/kernels/" in source))
    for one in objects:
        one.unlink()


@pytest.fixture(scope="module")
def programs():
    version = subprocess.run([COMPILER, "--version"], capture_output=True, text=True, check=True).stdout
    files = [*(path for path in sources() if "cuda" not in path.parts), HERE / "forward_child.cc",
             HERE / "kernels_child.cc", ROOT / "setup.py"]
    return built("aarch64", files, [version], make)


def emulated(programs, program, *arguments, cpu="max", given=b"", **environment):
    added = {"LD_LIBRARY_PATH": str(programs), **environment}
    variables = [word for name, value in added.items() for word in ("-E", f"{name}={value}")]
    return subprocess.run([EMULATOR, "-L", SYSTEM, "-cpu", cpu, *variables, programs / program, *map(str, arguments)],
                          input=given, capture_output=True, check=False)


def forward(programs, file, isa, ids, types, lengths, threads=1, **options):
    """Outputs one after the other as one vector, and the set that ran."""
    given = np.array(ids.shape, np.int32).tobytes() + b"".join(
        np.ascontiguousarray(x, np.int32).tobytes() for x in (ids, types, lengths))
    done = emulated(programs, "forward_child", file, isa, threads, given=given, **options)
    assert done.returncode == 0, done.stderr
    return np.frombuffer(done.stdout, np.float32), done.stderr.decode().strip()


def test_the_fastest_set_of_each_processor(programs, tmp_path):
    checkpoint = reference.tiny()
    packed.write(tmp_path / "model.safetensors", checkpoint, "int8")
    for cpu, sets in PROCESSORS.items():
        done = emulated(programs, "kernels_child", cpu=cpu)
        assert (done.returncode, done.stdout.decode().split()) == (0, sets)
        inputs = reference.batch(checkpoint.config, [3, 1])
        assert forward(programs, tmp_path / "model.safetensors", "", *inputs, cpu=cpu)[1] == sets[-1]
        assert forward(programs, tmp_path / "model.safetensors", "", *inputs, cpu=cpu, BERTPASS_ISA="neon")[1] == "neon"
        for missing in (*(one for one in SETS if one not in sets), "avx2"):
            done = emulated(programs, "kernels_child", missing, cpu=cpu)
            assert done.returncode == 3
            assert done.stdout.decode().splitlines()[-1] == (
                f"the instruction set '{missing}' is not there on this processor; use one of {', '.join(sets)}.")


@pytest.mark.parametrize("isa", SETS[1:])
def test_kernels_against_the_portable_ones(programs, isa):
    done = emulated(programs, "kernels_child", isa)
    assert (done.returncode, done.stdout.decode().splitlines()[1:]) == (0, [])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8"])
@pytest.mark.parametrize("family, head, sizes", [
    ("bert", "pooled", {}), ("modernbert", "mean_norm", {}),
    ("bert", "none", {"units": 64, "hidden_size": 96, "num_heads": 2, "max_length": 96})])
def test_models(programs, tmp_path, family, head, sizes, dtype):
    """A file that was packed here: against NumPy in float64 with the same rounding, and the host's portable kernels."""
    checkpoint = reference.tiny(family, head, **sizes)
    file = tmp_path / "model.safetensors"
    packed.write(file, checkpoint, dtype)
    lengths = [70, 33, 1, 17] if sizes else [40, 17, 1, 6]
    ids, types, lengths = inputs = reference.batch(checkpoint.config, lengths)
    host = NativeEngine(checkpoint, dtype=dtype, threads=1, isa="portable").forward(*inputs)
    for isa in SETS:
        wanted = reference.outputs(checkpoint, *inputs, reference.precision(dtype, isa))
        found, ran = forward(programs, file, isa, *inputs)
        assert ran == isa
        most, start = 5e-6 if dtype == "float32" else reference.flip(dtype, isa), 0
        for output, right in zip(host, wanted, strict=True):
            own = found[start:start + output.size].reshape(output.shape)
            start += output.size
            assert np.linalg.norm(own - right) <= most * np.linalg.norm(right), isa
            if isa != "neon_bf16":  # attention in bytes' models rounds to bfloat16 there
                assert np.linalg.norm(own - output) <= most * np.linalg.norm(output), isa
        assert start == found.size
        assert np.array_equal(forward(programs, file, isa, *inputs, threads=3)[0], found)
        if head != "none":
            continue
        states = found.reshape(*ids.shape, -1)
        for row, length in enumerate(lengths):  # alone: the same bits
            alone, _ = forward(programs, file, isa, ids[row:row + 1, :length], types[row:row + 1, :length],
                               lengths[row:row + 1])
            assert np.array_equal(alone, states[row, :length].ravel()), (isa, row)


def test_fast_instructions_are_in_the_objects(programs):
    """The sets differ in what they multiply with: one instruction for four bytes, one for a pair of bfloat16."""
    dump = subprocess.run(["aarch64-linux-gnu-objdump", "-d", "--no-show-raw-insn", programs / "libbertpass.so"],
                          capture_output=True, text=True, check=True).stdout
    for instruction in ("smull2", "sdot", "bfdot", "bfcvtn"):
        assert re.search(rf"\t{instruction}\t", dump), instruction
