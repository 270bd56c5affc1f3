"""Unpacked model files: what bertpass pack --unpacked writes, and who takes them."""

import numpy as np
import pytest

import bertpass
from bertpass.commands.main import main
from bertpass.errors import ModelError, UsageError
from bertpass.model import parameters
from bertpass.model.checkpoint import load_checkpoint
from bertpass.model.files import safetensors_file
from bertpass.model.layouts import huggingface, packed
from tests.helpers import reference


@pytest.fixture
def folder(tmp_path):
    huggingface.write_folder(tmp_path / "folder", reference.tiny())
    return tmp_path / "folder"


def test_the_command_writes_every_weight_as_it_is(folder, tmp_path):
    file = tmp_path / "x.safetensors"
    assert main(["pack", str(folder), str(file), "--unpacked"]) == 0
    tensors, metadata = safetensors_file.read(file)
    checkpoint = load_checkpoint(str(folder))
    wanted = parameters.shapes(parameters.network_config(checkpoint.config, checkpoint.head), checkpoint.head)
    assert {name: array.shape for name, array in tensors.items()} == wanted
    assert metadata["format"] == packed.UNPACKED_FORMAT
    for name, array in tensors.items():
        assert array.dtype == np.float32 and np.array_equal(array, checkpoint.params[name])


def test_the_native_engine_refuses_it(folder, tmp_path):
    packed.write_unpacked(tmp_path / "x.safetensors", load_checkpoint(str(folder)))
    with pytest.raises(ModelError, match="without --unpacked"):
        bertpass.load(tmp_path / "x.safetensors", engine="native")


@pytest.mark.parametrize("flags", [["--keep", "0=float32"], ["--dtype", "int8", "--calibration_file", "x.txt"]])
def test_flags_that_do_not_go_with_it(folder, tmp_path, capsys, flags):
    code = main(["pack", str(folder), str(tmp_path / "x.safetensors"), "--unpacked", *flags])
    assert code == UsageError.exit_code and "leave --keep and --calibration_file out" in capsys.readouterr().err
