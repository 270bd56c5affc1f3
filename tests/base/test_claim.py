"""Cores that processes claim: disjoint, and free again when a process ends, however it ends."""

import subprocess
import sys

from bertpass import placement
from bertpass.placement import claim
from bertpass.placement.topology import Core

_CHILD = """
import sys
from pathlib import Path
from bertpass.placement import claim, here
claim.folder = lambda: Path(sys.argv[1])
held = claim.Claim(here().cores, 1)
print(held.cpus, flush=True)
sys.stdin.read()
"""


def test_claims_are_disjoint(tmp_path, monkeypatch):
    monkeypatch.setattr(claim, "folder", lambda: tmp_path / "cores")
    cores = [Core((n, n + 4)) for n in range(4)]
    one, two = claim.Claim(cores, 1), claim.Claim(cores, 2)
    assert one.cpus == (0, 4) and two.cpus == (1, 2, 5, 6)
    assert claim.Claim(cores, 2).cpus == ()  # one is left, and stays free
    three = claim.Claim(cores, 1)
    assert three.cpus == (3, 7)
    two.release()
    assert two.cpus == () and claim.Claim(cores, 2).cpus == (1, 2, 5, 6)


def test_a_killed_process_gives_its_core_back(tmp_path, monkeypatch):
    monkeypatch.setattr(claim, "folder", lambda: tmp_path)
    cores = placement.here().cores
    child = subprocess.Popen([sys.executable, "-c", _CHILD, str(tmp_path)], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout.readline().strip() == str(tuple(sorted(cores[0].cpus)))
        held = claim.Claim(cores, len(cores))
        assert held.cpus == ()
    finally:
        child.kill()
        child.communicate()
    assert claim.Claim(cores, 1).cpus == tuple(sorted(cores[0].cpus))
