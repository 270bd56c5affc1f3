"""Every fault of benchmarks/serving_faults.py, and short forms of the table and of benchmarks/serving_memory.py."""

import json

import pytest
import serving_faults
import serving_memory

from tests.helpers import served  # noqa: F401 - says where a package is missing

OPTIONS = serving_faults.FaultOptions(requests=150)


@pytest.mark.parametrize("fault", serving_faults.FAULTS, ids=lambda fault: fault.run.__name__)
def test_promises_are_kept(fault):
    assert fault.run(OPTIONS)


def test_wrong_bodies_are_refused():
    assert len(serving_faults.bodies(OPTIONS)) == len(serving_faults.BODIES)


def test_the_table(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(serving_faults, "FAULTS", [serving_faults.Fault("a|b", lambda _: "done")])
    monkeypatch.setattr(serving_faults, "bodies", lambda _: [])
    assert serving_faults.main(["--output", str(tmp_path / "page.md")]) == 0
    assert "| a\\|b | done |" in (tmp_path / "page.md").read_text(encoding="utf-8")
    broken = serving_faults.Fault("x", lambda _: serving_faults.expect(False, "it fell"))
    monkeypatch.setattr(serving_faults, "FAULTS", [broken])
    assert serving_faults.main([]) == 1 and "broke a promise: it fell" in capsys.readouterr().err


def test_memory_and_startup(tmp_path, capsys):
    file = tmp_path / "memory.json"
    words = ["--model", "embedding", "--engine", "dummy", "--starts", "1", "--requests", "300", "--words", "9"]
    assert serving_memory.main([*words, "--output", str(file), "--growth", "1e9"]) == 0
    told = json.loads(file.read_text(encoding="utf-8"))
    assert told["startup"]["median_ms"] > 0 and {"server", "engine 0"} <= set(told["memory"])
    assert "ready after" in capsys.readouterr().out
