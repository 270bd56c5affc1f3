"""bertpass_lib.so in MXNet without bertpass, by every entry that applies a pass, at once after reading parameters.

MXNet computes while Python goes on, so parameters that were just read are still being copied when the pass is called:
on a model of BERT-base's size by themselves, on a small one where MXNet's thread is kept busy.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bertpass.model.files import params_file
from tests.helpers.pass_models import SHAPES, build
from tests.helpers.wheels import LIBRARY, unpacked

CHILD = Path(__file__).with_name("plain_child.py")
BLOCKS = ["optimize_for:interleave_qkv", "hybridize:interleave_qkv", "export:interleave_qkv",
          "hybridize:native_encoder"]
PUBLISHED = ["optimize_for:MHAInterleave", "optimize_for:AddBiasGelu", "symbol_entry:MaskSoftmax"]
WRITTEN = ["pending:interleave_qkv", "pending:native_encoder"]
OTHERS = pytest.mark.parametrize("release", [None, pytest.param("1.7.0.post2", marks=pytest.mark.compat),
                                             pytest.param("1.8.0.post0", marks=pytest.mark.compat)])


def written(folder: Path, size: str) -> list[Path]:
    model = build(SHAPES[size])
    (folder / "model-symbol.json").write_text(model.symbol)
    params_file.write(folder / "model-0000.params", {"arg:" + name: value for name, value in model.params.items()})
    np.savez(folder / "inputs.npz", **model.inputs)
    return [folder / "model", folder / "inputs.npz"]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return written(tmp_path_factory.mktemp("base"), "bert_base")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return written(tmp_path_factory.mktemp("tiny"), "tiny")


def applied(model: list[Path], release: str | None, *entries: str) -> dict:
    return told(model, release, *entries)[0]


def told(model: list[Path], release: str | None, *entries: str) -> tuple[dict, str]:
    """The results and what was written to standard error."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment["MXNET_CPU_WORKER_NTHREADS"] = "1"
    if release is not None:
        environment["PYTHONPATH"] = str(unpacked(f"mxnet=={release}"))
    done = subprocess.run([sys.executable, "-W", "ignore", CHILD, LIBRARY, *model, *entries], env=environment,
                          capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stderr[-3000:]
    result = json.loads(done.stdout.splitlines()[-1])
    assert result.pop("version") == ("1.9.1" if release is None else release.rsplit(".", 1)[0])
    return result, done.stderr


@OTHERS
def test_every_entry_at_once(tiny: list[Path], release: str | None) -> None:
    result = applied(tiny, release, *BLOCKS, "symbol_entry:interleave_qkv", "in_python_operator:interleave_qkv")
    if release == "1.7.0.post2":  # its blocks do not take new parameters of any pass, and say so
        for entry in BLOCKS:
            assert "Check failed" in result.pop(entry)
    else:
        assert 0 < result.pop("hybridize:native_encoder") < 1e-5
    assert set(result.values()) == {0.0}, result


@pytest.mark.slow
def test_base_size(base: list[Path]) -> None:
    assert set(applied(base, None, *BLOCKS[:3]).values()) == {0.0}


@OTHERS
@pytest.mark.parametrize("host", [[], ["--without-python"]])
def test_parameters_that_are_being_written(tiny: list[Path], release: str | None, host: list[str]) -> None:
    """Also in a host without Python, where the pass itself waits."""
    result = applied(tiny, release, *host, *WRITTEN)
    assert result["pending:interleave_qkv"] == 0.0
    # 1.7's GELU is the tanh approximation
    assert result["pending:native_encoder"] < (1e-3 if release == "1.7.0.post2" else 1e-5)


@pytest.mark.parametrize(("page", "block", "result"), [("recipe.md", 0, "block(ids, token_types, valid_length)"),
                                                       ("models.md", 1, "logits")])
def test_programs_of_the_manual(tiny: list[Path], page: str, block: int, result: str) -> None:
    """A page's program for plain MXNet, as it stands but for the paths, in a process without bertpass."""
    text = (Path(__file__).resolve().parents[2] / "docs" / page).read_text(encoding="utf-8")
    program = re.findall(r"```python\n(.*?)```", text, re.S)[block]
    program = program.replace("/path/to/bertpass_lib.so", str(LIBRARY)).replace("SST-", f"{tiny[0]}-")
    program = program.replace("output_dir/SST/bundle/model-", f"{tiny[0]}-")
    program = program.replace("data0", "ids").replace("data1", "types").replace("data2", "valid")
    inputs = "".join(f"{name} = mx.nd.array(numpy.load('{tiny[1]}')['{key}'])\n"
                     for name, key in (("ids", "ids"), ("token_ids", "ids"), ("token_types", "types"),
                                       ("valid_length", "valid")))
    program = re.sub(r"^(import mxnet as mx\b.*\n)", rf"\1{inputs}", program, flags=re.M)
    program = f"import numpy\nnumpy.bool = bool\n{program}\nprint({result}[0].shape)\n"
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", program], env=environment, capture_output=True,
                          text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines()[-1] == "(3, 10, 24)"


def test_published_names(tiny: list[Path]) -> None:
    result = applied(tiny, None, *PUBLISHED)
    assert result["optimize_for:MHAInterleave"] == result["symbol_entry:MaskSoftmax"] == 0.0
    assert result["optimize_for:AddBiasGelu"] < 1e-5


@pytest.mark.parametrize("name", ["interleave_qkv", "MHAInterleave", "native_encoder", "remove_noops", "no_such_pass"])
def test_without_parameters_the_graph_is_left_as_it_is(tiny: list[Path], name: str) -> None:
    """A pass that would move weights says so; a name that no library has is MXNet's own to tell."""
    result, said = told(tiny, None, f"alone:{name}")
    assert result == {f"alone:{name}": 0.0}
    assert ("as no parameters came with the graph; give them" in said) == (name not in ("remove_noops", "no_such_pass"))
    assert name != "no_such_pass" or "backend 'no_such_pass' cannot be found" in said
