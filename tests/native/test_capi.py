"""The C library: the example against Python bit for bit, errors as values, threads, damaged files under sanitizers."""

import concurrent.futures
import ctypes
import json
import os
import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest

from bertpass import _native, machine
from bertpass.engines.native import DTYPES, NativeEngine
from bertpass.model.families import FAMILIES
from bertpass.model.layouts import packed
from tests.helpers import ROOT
from tests.helpers.built import built, sources
from tests.helpers.reference import HEADS, WORDS, batch, tiny

PACKAGE = ROOT / "bertpass"
needs_gcc = pytest.mark.skipif(not (shutil.which("gcc") and shutil.which("make")),
                               reason="needs a C compiler and make: apt-get install gcc make")
OK, BAD_MODEL, BAD_ARGUMENT = 0, 1, 2
Int, Ints = ctypes.c_int32, ctypes.POINTER(ctypes.c_int32)


class Info(ctypes.Structure):
    _fields_ = [("vocabulary", Int), ("max_length", Int), ("token_types", Int), ("outputs", Int), ("threads", Int),
                ("instruction_set", ctypes.c_char_p)]


class Shape(ctypes.Structure):
    _fields_ = [("axes", Int), ("sizes", ctypes.c_int64 * 3)]


@pytest.fixture(scope="module")
def library():
    loaded = ctypes.CDLL(str(PACKAGE / "libbertpass.so"))
    loaded.bertpass_error.restype = ctypes.c_char_p
    loaded.bertpass_free.argtypes = [ctypes.c_void_p]
    return loaded


@pytest.fixture
def load(library, tmp_path):
    """A function that packs a checkpoint and gives the C model."""
    models = []

    def made(checkpoint, dtype="float32", threads=1, isa=None):
        file, model = tmp_path / f"{len(models)}.safetensors", ctypes.c_void_p()
        packed.write(file, checkpoint, dtype)
        status = library.bertpass_load(os.fsencode(file), threads, isa and isa.encode(), ctypes.byref(model))
        assert status == OK, library.bertpass_error()
        models.append(model)
        return model

    yield made
    for model in models:
        library.bertpass_free(model)


def pointer(array):
    return None if array is None else array.ctypes.data_as(Ints)


def forward(library, model, ids, types, lengths):
    info, shapes = Info(), (Shape * 2)()
    assert library.bertpass_describe(model, ctypes.byref(info)) == OK
    assert library.bertpass_output_shapes(model, *ids.shape, shapes) == OK
    outputs = [np.full(tuple(s.sizes[:s.axes]), np.nan, np.float32) for s in shapes[:info.outputs]]
    places = (ctypes.c_void_p * 2)(*(out.ctypes.data for out in outputs))
    status = library.bertpass_forward(model, pointer(ids), pointer(types), pointer(lengths), *ids.shape, places)
    return status, outputs


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("family, head", [
    (family, head) for family in FAMILIES for head in (*HEADS, *WORDS)])
def test_the_bits_of_python(library, load, family, head, dtype):
    checkpoint = tiny(family, head)
    inputs = batch(checkpoint.config, [17, 1, 30], 33)
    wanted = NativeEngine(checkpoint, dtype=dtype, threads=1).forward(*inputs)
    status, found = forward(library, load(checkpoint, dtype), *inputs)
    assert status == OK and len(found) == len(wanted)
    assert all(f.shape == w.shape and np.array_equal(f, w) for f, w in zip(found, wanted, strict=True))


def test_no_types_are_types_of_zero(library, load):
    model, (ids, types, lengths) = load(tiny()), batch(tiny().config, [9, 4])
    assert np.array_equal(forward(library, model, ids, None, lengths)[1][0],
                          forward(library, model, ids, np.zeros_like(types), lengths)[1][0])


@pytest.mark.parametrize("isa", _native.instruction_sets())
def test_description(library, load, isa):
    info = Info()
    assert library.bertpass_describe(load(tiny(head="pooled"), threads=2, isa=isa), ctypes.byref(info)) == OK
    assert (info.vocabulary, info.max_length, info.token_types, info.outputs, info.threads) == (61, 40, 2, 2, 2)
    assert info.instruction_set == isa.encode()
    assert library.bertpass_describe(load(tiny(), threads=0), ctypes.byref(info)) == OK
    assert info.threads == machine.threads()


def test_the_header_and_the_library_are_of_one_version(library):
    assert f"#define BERTPASS_ABI {library.bertpass_abi()}\n" in (PACKAGE / "include" / "bertpass.h").read_text()


def test_bad_arguments_are_sentences(library, load):
    model, none = load(tiny()), ctypes.c_void_p()
    ids, types, lengths = batch(tiny().config, [9, 4])
    places = (ctypes.c_void_p * 2)(np.zeros((2, 9, 36), np.float32).ctypes.data)

    def refused(words, function, *arguments, status=BAD_ARGUMENT):
        assert getattr(library, f"bertpass_{function}")(*arguments) == status
        assert words in library.bertpass_error().decode()

    rest = (pointer(lengths), 2, 9, places)
    refused("null", "load", None, 1, None, ctypes.byref(none))
    refused("null", "load", b"x", 1, None, None)
    refused("null", "describe", None, ctypes.byref(Info()))
    refused("null", "output_shapes", model, 1, 1, None)
    refused("null", "forward", None, pointer(ids), pointer(types), *rest)
    refused("null", "forward", model, None, pointer(types), *rest)
    refused("null", "forward", model, pointer(ids), None, None, 2, 9, places)
    refused("null", "forward", model, pointer(ids), None, pointer(lengths), 2, 9, (ctypes.c_void_p * 2)())
    refused("at least one row", "forward", model, pointer(ids), None, pointer(lengths), 0, 9, places)
    refused("at least one row", "output_shapes", model, 2, -1, (Shape * 2)())
    refused("longer than the model's 40", "forward", model, pointer(ids), None, pointer(lengths), 1, 41, places)
    refused("threads must be", "load", b"x", 1025, None, ctypes.byref(none))
    refused("threads must be", "load", b"x", -1, None, ctypes.byref(none))
    refused("No such file", "load", b"/no such file", 1, None, ctypes.byref(none), status=BAD_MODEL)
    refused("not a file", "load", os.fsencode(ROOT), 1, None, ctypes.byref(none), status=BAD_MODEL)
    bad = ids.copy()
    bad[1, 2] = 61
    refused("input_ids must be from 0 to 60, not 61", "forward", model, pointer(bad), None, *rest)
    assert none.value is None
    library.bertpass_free(None)


def test_an_unknown_instruction_set(library, tmp_path):
    packed.write(tmp_path / "x.safetensors", tiny(), "float32")
    model = ctypes.c_void_p(1)
    file = os.fsencode(tmp_path / "x.safetensors")
    assert library.bertpass_load(file, 1, b"avx9", ctypes.byref(model)) == BAD_ARGUMENT
    assert b"'avx9' is not known" in library.bertpass_error() and model.value is None


def test_threads_and_errors_of_their_own(library, load):
    """ctypes lets go of the interpreter's lock, so these calls do run at once."""
    model, jobs = load(tiny()), [batch(tiny().config, [n + 1, 30, 9], 32, seed=n) for n in range(6)]
    wanted = [forward(library, model, *job)[1][0] for job in jobs]

    def work(number):
        for turn in range(60):
            at = (number + turn) % len(jobs)
            status, found = forward(library, model, *jobs[at])
            if status != OK or not np.array_equal(found[0], wanted[at]):
                return "another result"
            ids = np.full((1, 1), 100 + number, np.int32)
            forward(library, model, ids, None, np.ones(1, np.int32))
            if f"not {100 + number}.".encode() not in library.bertpass_error():
                return "another thread's error"
        return "fine"

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert list(pool.map(work, range(4))) == ["fine"] * 4


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    out = tmp_path_factory.mktemp("example") / "embed"
    done = subprocess.run(["make", "-C", str(ROOT / "examples" / "c"), f"OUT={out}",
                           "CFLAGS=-O1 -Wall -Wextra -pedantic -Werror"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return out


@needs_gcc
@pytest.mark.parametrize("head", ["mean_norm", "pooled", "qa"])
def test_the_example(example, head, tmp_path):
    checkpoint, ids = tiny(head=head), [2, 5, 60, 0, 3]
    packed.write(tmp_path / "x.safetensors", checkpoint, "bfloat16")
    done = subprocess.run([example, tmp_path / "x.safetensors", *map(str, ids)], capture_output=True, text=True,
                          check=False)
    assert done.returncode == 0, done.stderr
    row = np.array([ids], np.int32)
    wanted = NativeEngine(checkpoint, dtype="bfloat16").forward(row, np.zeros_like(row), np.array([5], np.int32))[0]
    assert np.array_equal(np.array(done.stdout.split(), np.float32), wanted.ravel())


@needs_gcc
@pytest.mark.parametrize(("arguments", "code", "words"), [
    ([], 2, "usage"), (["x", "1y"], 2, "no token id"), (["x", "99999999999"], 2, "no token id"),
    (["/no such file", "1"], 1, "No such file")])
def test_the_example_says_what_is_wrong(example, arguments, code, words):
    done = subprocess.run([example, *arguments], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (code, "") and words in done.stderr


def test_a_cpp_compiler_takes_the_header(tmp_path):
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("needs a C++ compiler: apt-get install g++")
    done = subprocess.run([compiler, "-std=c++17", "-Wall", "-Wextra", "-pedantic", "-Werror", "-fsyntax-only", "-x",
                           "c++", str(PACKAGE / "include" / "bertpass.h")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# -- damaged files ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sanitized():
    """The library's sources and the child in one program, under the address and undefined-behaviour sanitizers.

    Compiled without the flags of the instruction sets, whose kernels are then not there: the portable ones are used.
    """
    import nlohmann_json

    flags = ["-g1", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", f"-I{PACKAGE / 'csrc'}",
             f"-I{PACKAGE / 'include'}", f"-I{nlohmann_json.get_include()}"]
    child = Path(__file__).parent / "capi_child.c"
    files = [*(source for part in ("kernels", "schema", "ops", "layer", "encoder", "model", "capi")
               for source in sorted((PACKAGE / "csrc" / part).glob("*.cc"))), child]

    def made(folder):
        def compiled(source):
            out = folder / f"{source.parent.name}-{source.name}.o"
            language = ["gcc", "-std=c99"] if source.suffix == ".c" else ["g++", "-std=c++17"]
            done = subprocess.run([*language, *flags, "-c", str(source), "-o", str(out)], capture_output=True,
                                  text=True, check=False)
            assert done.returncode == 0, done.stderr
            return out

        with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            objects = list(pool.map(compiled, files))
        subprocess.run(["g++", *flags, "-pthread", *map(str, objects), "-o", str(folder / "child")], check=True)

    version = subprocess.run(["g++", "--version"], capture_output=True, text=True, check=True).stdout
    return built("sanitized", [*sources(), child], [version, *flags], made) / "child"


def damaged(data: bytes, source: np.random.Generator) -> bytes:
    """One of several kinds of damage to a file: flipped bytes, cuts, and numbers of the header that are others."""
    out = bytearray(data)
    length, = struct.unpack("<Q", data[:8])
    kind = source.integers(6)
    if kind == 0:  # anywhere in the header or at the beginning of the layers
        for _ in range(source.integers(1, 9)):
            out[source.integers(0, 8 + length + 64)] = source.integers(256)
        return bytes(out)
    if kind == 1:
        return bytes(out[:source.integers(len(out))])
    if kind == 2:
        out[:8] = struct.pack("<Q", int(source.integers(2**63)) >> int(source.integers(64)))
        return bytes(out)
    if kind == 3:  # widths, counts and sizes in the header of the layers
        if source.integers(2):  # layers, units, hidden and heads, whose product is the size
            out[8 + length + 16:8 + length + 32] = struct.pack("<4i", *source.choice([2**12, 2**20, 2**30], 3), 1)
        for _ in range(source.integers(3)):
            at = 8 + length + 8 + 4 * int(source.integers(12))
            value = [2**31 - 1, 2**20, -1, 0, 1, 7][source.integers(6)]
            out[at:at + 4] = struct.pack("<i", value)
        return bytes(out)
    header = json.loads(data[8:8 + length])
    values = [0, 1, -1, 3, 35, 2**20, 2**31 - 1, 2**31, 2**63, 2**64, 1e300, "x", None, [], {}]
    if kind == 4:
        model = json.loads(header["__metadata__"]["model"])
        part = model[["config", "head"][source.integers(2)]]
        part[list(part)[source.integers(len(part))]] = values[source.integers(len(values))]
        header["__metadata__"]["model"] = json.dumps(model)
    else:
        name = list(header)[source.integers(1, len(header))]
        key = ["dtype", "shape", "data_offsets"][source.integers(3)]
        bad = values[source.integers(len(values))]
        header[name][key] = [bad, "U8", "F32", [bad, 36], [0, bad], [bad, bad + 4 if isinstance(bad, int) else 4]][
            source.integers(6)]
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data[8 + length:]


@needs_gcc
@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES)
def test_damaged_files_under_sanitizers(sanitized, dtype, tmp_path):
    count, source = 400, np.random.default_rng(len(dtype))
    packed.write(tmp_path / "whole.safetensors", tiny(head="pooled"), dtype)
    whole = (tmp_path / "whole.safetensors").read_bytes()
    files = []
    for at in range(count):
        files.append(tmp_path / f"{at}.safetensors")
        files[-1].write_bytes(damaged(whole, source))
    done = subprocess.run([sanitized, tmp_path / "whole.safetensors", *files], capture_output=True, text=True,
                          check=False, env={**os.environ, "UBSAN_OPTIONS": "print_stacktrace=1",
                                            "ASAN_OPTIONS": "allocator_may_return_null=1"})
    assert done.returncode == 0, done.stderr[-3000:]
    assert 1 <= int(done.stdout) < count / 2  # the whole one loads; of the others some do, damaged where nothing is
