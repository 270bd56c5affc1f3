"""Processors from affinity and cgroup quota, on recorded cgroup trees."""

import math
import os
import platform
from pathlib import Path

import pytest

from bertpass import machine


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize(("files", "membership", "expected"), [
    ({"cpu.max": "max 100000"}, "0::/", math.inf),
    ({"a/b/cpu.max": "150000 100000"}, "0::/a/b", 1.5),
    ({"a/cpu.max": "100000 100000", "a/b/cpu.max": "400000 100000"}, "0::/a/b", 1.0),  # the smallest of the chain
    ({"cpu.max": "200000 100000"}, "0::/not/visible/here", 2.0),  # a container sees its own group as the root
    ({"cpu/docker/x/cpu.cfs_quota_us": "50000", "cpu/docker/x/cpu.cfs_period_us": "100000"},
     "4:cpu,cpuacct:/docker/x", 0.5),
    ({"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000"}, "4:cpu,cpuacct:/docker/x", 3.0),
    ({"cpu/x/cpu.cfs_quota_us": "-1", "cpu/x/cpu.cfs_period_us": "100000"}, "4:cpu:/x", math.inf),
    ({"cpu.max": "garbage"}, "nonsense", math.inf),
])
def test_quota(tmp_path, files, membership, expected):
    group = tmp_path / "membership"
    group.write_text(membership + "\n")
    assert machine.cgroup_quota(tree(tmp_path / "cgroup", files), group) == expected


def test_quota_without_cgroups(tmp_path):
    assert machine.cgroup_quota(tmp_path / "none", tmp_path / "neither") == math.inf


def test_usable_cpus_is_cut_by_the_quota(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    monkeypatch.setattr(machine, "cgroup_quota", lambda: 2.5)
    assert machine.usable_cpus() == 3
    monkeypatch.setattr(machine, "cgroup_quota", lambda: 0.2)
    assert machine.usable_cpus() == 1
    monkeypatch.setattr(machine, "cgroup_quota", lambda: math.inf)
    assert machine.usable_cpus() == 8


@pytest.mark.parametrize(("value", "expected"), [("3", 3), ("4,2", 4), ("0", 5), ("many", 5), ("", 5)])
def test_threads_follow_a_persons_setting(monkeypatch, value, expected):
    monkeypatch.setattr(machine, "usable_cpus", lambda: 5)
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    assert machine.threads() == expected


def test_description_names_the_machine():
    told = machine.describe()
    assert told["cpus_usable"] >= 1 and told["cpu"] and told["memory_gib"] > 0
    assert told["cpus_usable"] <= told["cpus_by_affinity"] <= told["cpus_online"]


def test_caches(tmp_path):
    tree(tmp_path, {"index0/level": "1\n", "index0/type": "Data\n", "index0/size": "48K\n",
                    "index1/level": "1", "index1/type": "Instruction", "index1/size": "32K",
                    "index2/level": "2", "index2/type": "Unified", "index2/size": "2M",
                    "index3/level": "3", "index3/type": "Unified", "index3/size": "", "index4/level": "4"})
    assert machine.caches(tmp_path) == {"L1d": 48 * 2**10, "L1i": 32 * 2**10, "L2": 2 * 2**20}
    assert machine.caches(tmp_path / "none") == {}


@pytest.mark.parametrize(("vendor", "flags", "expected"), [
    ("AuthenticAMD", "fpu sse2 avx2 fma", "amd-avx2"),
    ("AuthenticAMD", "avx2 avx512f avx512_vnni avx512_bf16", "amd-avx512-bf16"),
    ("GenuineIntel", "avx2 avx512f avx512_vnni avx512_bf16 amx_tile amx_bf16 amx_int8", "intel-amx"),
    ("GenuineIntel", "avx2 avx512f avx512_vnni", "intel-avx512-vnni"),
    ("GenuineIntel", "avx2 avx_vnni", "intel-avx2-vnni"),
    ("GenuineIntel", "avx2 avx512f", "intel-avx512"),
    ("", "", f"other-{platform.machine().lower()}")])
def test_kind_of_host(vendor, flags, expected):
    assert machine.kind({"vendor_id": vendor, "flags": flags}) == expected
    assert machine.describe()["kind"] == machine.kind()


@pytest.mark.parametrize(("program", "words"), [
    ("bertpass/__main__.py", "bertpass"), (".venv/bin/bertpass", "bertpass"),
    ("benchmarks/soak.py", "benchmarks/soak.py")])
def test_the_command_line_can_be_typed_again(monkeypatch, program, words):
    monkeypatch.setattr("sys.argv", [str(Path.cwd() / program), "cpu", "--models", "a b"])
    assert machine.command() == f"{words} cpu --models 'a b'"
