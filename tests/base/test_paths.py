"""Where things lie: one cache folder, which BERTPASS_CACHE names, and this very package for child processes."""

import os
import subprocess
import sys

import pytest

from bertpass.base import paths


@pytest.mark.parametrize("end", ["", "\n", " ", "\r\n"])
def test_the_caches_variable_is_heeded_everywhere(monkeypatch, tmp_path, end):
    from bertpass.engines.cuda import library
    from bertpass.engines.tvm import records

    for name in ("BERTPASS_TVM_RECORDS", "BERTPASS_CUDA_MEASUREMENTS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("BERTPASS_CACHE", f"{tmp_path}{end}")
    assert paths.cache_folder() == records.own_file().parent == library.measurements().parent == tmp_path
    monkeypatch.delenv("BERTPASS_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert paths.cache_folder() == records.own_file().parent == library.measurements().parent == tmp_path / "bertpass"


def test_a_child_imports_this_package_and_what_the_person_named(monkeypatch, tmp_path):
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    script = "import bertpass, sys; print(bertpass.__file__); print(*sys.path, sep='\\n')"
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True,
                          env={**os.environ, "PYTHONPATH": paths.python_path()})
    assert done.stdout.split("\n")[0] == str(paths.PACKAGE / "__init__.py") and str(tmp_path) in done.stdout
