"""Places for processes: affinity and memory policy for the length of a block, inherited by what starts in it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bertpass.placement import binding, here

CHILD = ("import os; print(*sorted(os.sched_getaffinity(0)));"
         "import pathlib; maps = pathlib.Path('/proc/self/numa_maps');"
         "print(maps.exists() and all(line.split()[1] == 'bind:0' for line in maps.open()))")


def run() -> list[str]:
    done = subprocess.run([sys.executable, "-S", "-c", CHILD], capture_output=True, text=True, check=True)
    return done.stdout.split("\n")


def test_a_child_inherits_processors():
    before = os.sched_getaffinity(0)
    last = max(before)
    with binding.placed([last]):
        assert run()[0] == str(last)
    assert os.sched_getaffinity(0) == before


@pytest.mark.skipif(not Path("/proc/self/numa_maps").exists(), reason="the kernel shows no memory policies; use one "
                    "with CONFIG_NUMA")
def test_a_child_inherits_memory():
    if 0 not in here().memory or binding.why_not([0]):
        pytest.skip("memory cannot be bound to node 0 here; allow set_mempolicy (CAP_SYS_NICE in a container)")
    with binding.placed(os.sched_getaffinity(0), [0]):
        assert run()[1] == "True"
    assert run()[1] == "False"


def test_what_the_system_refuses_changes_nothing():
    before = os.sched_getaffinity(0)
    with pytest.raises(OSError), binding.placed([4000]):
        pass
    assert binding.why_not([900])
    assert os.sched_getaffinity(0) == before and run()[1] == "False"


def test_an_unknown_machine_is_named(monkeypatch):
    monkeypatch.setattr(binding.platform, "machine", lambda: "vax")
    assert binding.why_not([0]) == "memory policies of vax are not known here"
    with binding.placed(os.sched_getaffinity(0)):  # without memory it is not needed
        pass


def test_the_place_is_left_after_an_error():
    before = os.sched_getaffinity(0)
    with pytest.raises(ZeroDivisionError), binding.placed([min(before)]):
        1 / 0  # noqa: B018
    assert os.sched_getaffinity(0) == before
