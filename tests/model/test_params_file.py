"""The NDArray file: equal to MXNet's in both directions, and hostile files end in a sentence."""

import struct

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bertpass.errors import ModelError
from bertpass.model.files import params_file

DTYPES = ["float32", "float64", "float16", "uint8", "int32", "int8", "int64"]


def arrays(seed=0):
    random = np.random.default_rng(seed)
    made = {f"arg:a_{dtype}": (random.normal(size=(3, 2, 5)) * 40).astype(dtype) for dtype in DTYPES}
    made["aux:odd"] = np.arange(3, dtype=np.uint8)  # leaves what follows unaligned
    made["größe"] = random.normal(size=(1,)).astype("float32")
    made["transposed"] = random.normal(size=(4, 6)).astype("float32").T
    return made


def equal(left, right):
    assert list(left) == list(right)
    for name in left:
        assert left[name].dtype == right[name].dtype, name
        assert left[name].shape == right[name].shape, name
        assert left[name].tobytes() == right[name].tobytes(), name


@pytest.mark.parametrize("mmap", [False, True])
def test_read_what_we_wrote(tmp_path, mmap):
    params_file.write(tmp_path / "a.params", arrays())
    read = params_file.read(tmp_path / "a.params", mmap=mmap)
    equal(read, arrays())
    assert all(array.flags.writeable != mmap for array in read.values())
    assert [p.name for p in tmp_path.iterdir()] == ["a.params"]


def test_mxnet_reads_what_we_wrote(tmp_path):
    from bertpass.mx import mx

    params_file.write(tmp_path / "a.params", arrays())
    equal({name: array.asnumpy() for name, array in mx.nd.load(str(tmp_path / "a.params")).items()}, arrays())


def test_we_read_what_mxnet_wrote_and_write_the_same_bytes(tmp_path):
    from bertpass.mx import mx

    mx.nd.save(str(tmp_path / "mx.params"), {k: mx.nd.array(v, dtype=v.dtype) for k, v in arrays().items()})
    equal(params_file.read(tmp_path / "mx.params"), arrays())
    params_file.write(tmp_path / "ours.params", arrays())
    assert (tmp_path / "ours.params").read_bytes() == (tmp_path / "mx.params").read_bytes()


def test_numpy_shape_semantics_of_mxnet(tmp_path):
    from bertpass.mx import mx

    with mx.util.np_shape(True):
        mx.nd.save(str(tmp_path / "v3.params"), {"x": mx.nd.ones((2, 3)), "nothing": mx.nd.zeros((0, 4))})
    read = params_file.read(tmp_path / "v3.params")
    assert read["x"].tolist() == [[1, 1, 1]] * 2 and read["nothing"].shape == (0, 4)


def list_file(*bodies, names=("x",)):
    out = struct.pack("<3Q", 0x112, 0, len(bodies)) + b"".join(bodies) + struct.pack("<Q", len(names))
    return out + b"".join(struct.pack("<Q", len(n)) + n.encode() for n in names)


VALUES = struct.pack("<2f", 1.5, -2.0)
TAIL = struct.pack("<3i", 1, 0, 0) + VALUES
V1_BODY = struct.pack("<Iiq", 0xF993FAC8, 1, 2) + TAIL
V2_BODY = struct.pack("<Iiiq", 0xF993FAC9, 0, 1, 2) + TAIL
V3_SCALAR = struct.pack("<Iii3if", 0xF993FACA, 0, 0, 1, 0, 0, 4.0)
OLD_BODY = struct.pack("<II", 1, 2) + TAIL


@pytest.mark.parametrize("body", [V1_BODY, V2_BODY, OLD_BODY], ids=["V1", "V2", "oldest"])
def test_older_layouts(tmp_path, body):
    path = tmp_path / "x.params"
    path.write_bytes(list_file(body))
    assert params_file.read(path)["x"].tolist() == [1.5, -2.0]
    from bertpass.mx import mx

    assert mx.nd.load(str(path))["x"].asnumpy().tolist() == [1.5, -2.0]


def test_scalar_of_v3(tmp_path):
    (tmp_path / "x.params").write_bytes(list_file(V3_SCALAR))
    assert params_file.read(tmp_path / "x.params")["x"].shape == ()


HOSTILE = {
    "empty": (b"", "is empty"),
    "text": (b"this is a text file and not a parameter file", "does not start"),
    "gzip": (b"\x1f\x8b" + b"\0" * 40, "compressed with gzip"),
    "too short": (struct.pack("<2Q", 0x112, 0), "ends within its first 24 bytes"),
    "huge list": (struct.pack("<3Q", 0x112, 0, 2**62), "announces 4611686018427387904 entries"),
    "huge dimension": (list_file(struct.pack("<Iiiq", 0xF993FAC9, 0, 1, 2**40) + TAIL), "more are due"),
    "overflowing shape": (list_file(struct.pack("<Iii3q", 0xF993FAC9, 0, 3, 2**62, 2**62, 2**62) + TAIL), "are due"),
    "negative dimension": (list_file(struct.pack("<Iiiq", 0xF993FAC9, 0, 1, -2) + TAIL), "announces the shape"),
    "many dimensions": (list_file(struct.pack("<Iii", 0xF993FAC9, 0, 10**6) + TAIL), "1000000 dimensions"),
    "huge old ndim": (list_file(struct.pack("<I", 2**31) + TAIL), "dimensions"),
    "sparse": (list_file(struct.pack("<Iiiq", 0xF993FAC9, 1, 1, 2) + TAIL), "sparse"),
    "never filled": (list_file(struct.pack("<Iii", 0xF993FAC9, 0, 0) + TAIL), "without a shape"),
    "bfloat16": (list_file(struct.pack("<Iiiq3i", 0xF993FAC9, 0, 1, 2, 1, 0, 12) + b"\0" * 4), "bfloat16"),
    "unknown type": (list_file(struct.pack("<Iiiq3i", 0xF993FAC9, 0, 1, 2, 1, 0, 77) + b"\0" * 8), "type 77"),
    "unnamed": (list_file(V2_BODY, names=()), "1 arrays and 0 names"),
    "same name twice": (list_file(V2_BODY, V2_BODY, names=("x", "x")), "occurs twice"),
    "huge name": (list_file(V2_BODY)[:-9] + struct.pack("<Q", 2**50), "announces"),
    "name not text": (list_file(V2_BODY)[:-1] + b"\xff", "not text"),
    "more behind": (list_file(V2_BODY) + b"\0", "follow its end"),
}


@pytest.mark.parametrize("content, words", HOSTILE.values(), ids=HOSTILE)
def test_hostile_files(tmp_path, content, words):
    path = tmp_path / "bad.params"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=words) as caught:
        params_file.read(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_every_truncation_is_refused(tmp_path):
    whole = list_file(V2_BODY, V1_BODY, names=("x", "yy"))
    path = tmp_path / "cut.params"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(ModelError):
            params_file.read(path)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=8))
def test_mutated_files_are_read_or_refused(tmp_path, changes):
    content = bytearray(list_file(V2_BODY, OLD_BODY, names=("x", "yy")))
    for at, value in changes:
        content[at % len(content)] = value
    path = tmp_path / "mutated.params"
    path.write_bytes(bytes(content))
    try:
        read = params_file.read(path)
    except ModelError:
        return
    assert len(read) == 2 and sum(array.nbytes for array in read.values()) <= len(content)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(ModelError, match="No such file"):
        params_file.read(tmp_path / "none.params")
    with pytest.raises(ModelError, match="directory"):
        params_file.read(tmp_path)


def test_writing_is_all_or_nothing(tmp_path):
    path = tmp_path / "a.params"
    params_file.write(path, {"x": np.ones(3, "float32")})
    before = path.read_bytes()
    with pytest.raises(ModelError, match="'y' has type complex64"):
        params_file.write(path, {"x": np.zeros(3, "float32"), "y": np.zeros(2, "complex64")})
    assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 1
    with pytest.raises(ModelError, match="cannot write"):
        params_file.write(path / "no_folder.params", {})


def test_big_endian_arrays_are_written_in_file_order(tmp_path):
    params_file.write(tmp_path / "a.params", {"x": np.array([1.5, 2.5], dtype=">f4"), "s": np.float32(3).reshape(())})
    read = params_file.read(tmp_path / "a.params")
    assert read["x"].tolist() == [1.5, 2.5] and read["s"].tolist() == [3.0]
