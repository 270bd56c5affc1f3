"""The one bertpass_lib.so, unchanged, in MXNet 1.7.0, 1.8.0 and the installed version, each in its own process.

Their wheels are downloaded once into .cache/wheels (100 MB). With BERTPASS_GPU_WHEELS=1 the GPU builds follow (0.3 to
0.9 GB each), whose CUDA libraries are replaced by stubs that report no device; see cuda_stubs.py.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bertpass.model.files import params_file
from tests.helpers.cuda_stubs import build_stubs
from tests.helpers.pass_models import PARITY, build
from tests.helpers.wheels import LIBRARY, unpacked

CHILD = Path(__file__).with_name("compat_child.py")
LAYERS = PARITY["tiny"].layers
GPU_BUILDS = ["mxnet-cu117==1.9.1", "mxnet-cu102==1.9.1", "mxnet-cu102==1.7.0"]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("compat")
    model = build(PARITY["tiny"])
    (folder / "tiny-symbol.json").write_text(model.symbol)
    params_file.write(folder / "tiny-0000.params", {"arg:" + name: value for name, value in model.params.items()})
    np.savez(folder / "inputs.npz", **model.inputs)
    return folder / "tiny", folder / "inputs.npz"


def run_in(mxnet: Path | None, exported: tuple[Path, Path], stubs: Path | None = None) -> dict:
    environment = {**os.environ, "BERTPASS_CUDA": "none"}  # "auto" on a GPU is the published list, whatever is built
    environment.pop("PYTHONPATH", None)
    if mxnet is not None:
        environment["PYTHONPATH"] = str(mxnet)
    if stubs is not None:
        environment["LD_LIBRARY_PATH"] = str(stubs)
    done = subprocess.run([sys.executable, "-W", "ignore", CHILD, LIBRARY, *exported], env=environment,
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    result = json.loads(done.stdout.splitlines()[-1])
    if mxnet is not None:
        assert Path(result["library"]).is_relative_to(mxnet)
    return result


def assert_compatible(result: dict, version: str) -> None:
    assert result["version"] == version
    assert result["rewrites"]["interleave_qkv"] == [LAYERS] and result["rewrites"]["bias_gelu"] == [LAYERS]
    assert result["rewrites"]["native_encoder"] == result["rewrites"]["native_encoder bfloat16"] == [1]
    assert len(result["rewrites"]["bertpass"]) == 3 and all(result["rewrites"]["bertpass"])
    assert result["differences"]["remove_noops"] == result["differences"]["interleave_qkv"] == 0.0
    # MXNet 1.7's GELU is the tanh approximation on a CPU, up to 4.7e-4 from the one by erf that it documents.
    exact = 1e-3 if version < "1.8" else 3e-6
    native = [result["differences"].pop(name) for name in ("native_encoder", "files", "native_encoder bfloat16")]
    assert 0 < native[0] == native[1] <= exact and 0 < native[2] <= 1e-2
    assert max(result["differences"].values()) <= 3e-6
    assert result["gomp"] == 1, "MXNet and the library share one OpenMP"
    assert result["leftovers"] == 0
    assert "Known: cpu, gpu" in result["device"] and "unknown pass 'bias_gleu'. Known: " in result["pass"]
    if version < "1.8":
        assert "MXNet 1.7 can only make float32" in result["float64"] and result["float64 dtypes"] == []
    else:
        assert result["float64"] is None and result["float64 dtypes"] == ["float64"]


def test_installed_version(exported: tuple[Path, Path]) -> None:
    assert_compatible(run_in(None, exported), "1.9.1")


@pytest.mark.compat
@pytest.mark.parametrize("release", ["1.7.0.post2", "1.8.0.post0"])
def test_other_versions(release: str, exported: tuple[Path, Path]) -> None:
    assert_compatible(run_in(unpacked(f"mxnet=={release}"), exported), release.rsplit(".", 1)[0])


@pytest.mark.gpuwheel
@pytest.mark.skipif(os.environ.get("BERTPASS_GPU_WHEELS") != "1",
                    reason="downloads 0.3 to 0.9 GB a wheel; set BERTPASS_GPU_WHEELS=1 to run it")
@pytest.mark.parametrize("requirement", GPU_BUILDS)
def test_gpu_builds_without_a_gpu(requirement: str, exported: tuple[Path, Path], tmp_path: Path) -> None:
    folder = unpacked(requirement)
    stubs = build_stubs(folder / "mxnet" / "libmxnet.so", tmp_path)
    assert_compatible(run_in(folder, exported, stubs), requirement.split("==")[1])
