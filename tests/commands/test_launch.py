"""bertpass launch: plans as shell commands, and real instances with their places, variables, output and ends."""

import os
import signal
import subprocess
import sys
import time

import pytest

from bertpass import placement
from bertpass.commands.production import launch
from bertpass.errors import DeviceError, MissingDependencyError, UsageError
from bertpass.jobs.machines import launch_settings
from bertpass.jobs.machines.launch_settings import Settings, library, variables

CPUS = sorted(os.sched_getaffinity(0))
two = pytest.mark.skipif(len(placement.here().cores) < 2, reason="one core only; run on a machine with two")


@pytest.fixture(scope="module")
def metal(tmp_path_factory):
    from tests.helpers.recorded import tree

    return str(tree("c5.metal", tmp_path_factory.mktemp("metal")))


def start(*words: str, ignored: str = "", **environment: str) -> subprocess.Popen[str]:
    """The launcher, with the signals as a terminal leaves them, however the tests were started."""
    signals = ["--default-signal=INT,TERM,HUP", *([f"--ignore-signal={ignored}"] if ignored else [])]
    return subprocess.Popen(["env", *signals, sys.executable, "-m", "bertpass", "launch", *words], text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, **environment})


def run(*words: str, **environment: str) -> tuple[int, list[str], str]:
    """Exit code, lines of output, sorted (instances run side by side), and standard error."""
    process = start(*words, **environment)
    out, err = process.communicate(timeout=60)
    return process.returncode, sorted(out.splitlines()), err


@pytest.mark.parametrize(("flags", "expected"), [
    ([], ["numactl -C 0-47 -m 0,1 env OMP_NUM_THREADS=48"]),
    (["--instances", "2"], [f"numactl -C {n}-{n + 23} -m {n // 24} env OMP_NUM_THREADS=24" for n in (0, 24)]),
    (["--instances", "4", "--cores-per-instance", "12"], [
        f"numactl -C {n}-{n + 11} -m {n // 24} env OMP_NUM_THREADS=12" for n in (0, 12, 24, 36)]),
    (["--sizes", "8,16,24", "--lengths", "32,384,512"], [
        "numactl -C 0-7 -m 0 env OMP_NUM_THREADS=8", "numactl -C 8-23 -m 0 env OMP_NUM_THREADS=16",
        "numactl -C 24-47 -m 1 env OMP_NUM_THREADS=24"]),
    (["--sizes", "2", "--memory", "none"], ["taskset -c 0-1 env OMP_NUM_THREADS=2"]),
])
def test_dry_run_of_the_published_machine(metal, capsys, flags, expected):
    """The commands of the published study of CPU inference on c5.metal; see tests/base/test_placement.py."""
    assert launch.main([*flags, "--dry-run", "--sysfs", metal, "--", "python", "main.py"]) == 0
    lines = capsys.readouterr().out.splitlines()
    commands = [line for line in lines if line.startswith(("numactl", "taskset"))]
    assert [line[:len(start)] for line, start in zip(commands, expected, strict=True)] == expected
    assert all(line.endswith(" python main.py &") for line in commands) and lines[-1] == "wait"


def test_dry_run_shows_lengths_and_fills_placeholders(metal, capsys):
    flags = ["--sizes", "8", "16", "24", "--lengths", "32", "384", "512", "--dry_run", "--sysfs", metal]
    command = ["serve", "--port=80{instance}0", "{longest}", "{cpus}", "{threads}/{instances}", '{"a": 1}']
    assert launch.main([*flags, "--", *command]) == 0
    out = capsys.readouterr().out
    assert "serve --port=8010 384 8-23 16/3 '{\"a\": 1}' &" in out
    assert "33 to 384" in out and "48 cores, 96 hardware threads, 2 sockets, 2 NUMA nodes" in out


def test_dry_run_warns_of_different_sizes(metal, capsys):
    assert launch.main(["--instances", "5", "--dry_run", "--sysfs", metal, "--", "x"]) == 0
    assert "The instances differ in size" in capsys.readouterr().out


@two
def test_the_dry_run_is_what_the_children_get():
    """The shell commands, run by a shell without numactl's own part, give what the launcher gives."""
    show = "{instance} $OMP_NUM_THREADS $(grep Cpus_allowed_list /proc/self/status)"
    code, lines, err = run("--instances", "2", "--", "sh", "-c", f"echo {show}", OMP_NUM_THREADS="7")
    first, second = (i.cpus[0] for i in placement.plan(placement.here(), 2))
    assert code == 0, err
    assert [line.split() for line in lines] == [["[0]", "0", "1", "Cpus_allowed_list:", str(first)],
                                                ["[1]", "1", "1", "Cpus_allowed_list:", str(second)]]
    assert f"instance 1: processors {second}" in err


def test_memory_that_cannot_be_bound_is_said(monkeypatch, capsys):
    topology = placement.Topology(placement.here().cores, (0,))
    monkeypatch.setattr(launch.placement, "here", lambda: topology)
    monkeypatch.setattr(launch.binding, "why_not", lambda nodes: "Operation not permitted")
    assert launch.main(["--sizes", "1", "--", "true"]) == 0
    told = capsys.readouterr().err
    assert "memory is not bound to NUMA nodes: Operation not permitted" in told and "memory not bound" in told
    assert launch.main(["--sizes", "1", "--memory", "none", "--", "true"]) == 0
    assert "Operation not permitted" not in capsys.readouterr().err


@two
def test_the_first_failure_ends_the_others_and_gives_the_code():
    began = time.monotonic()
    code, lines, err = run("--instances", "2", "--", "sh", "-c", "if [ {instance} = 1 ]; then exit 7; fi; sleep 30")
    assert code == 7 and time.monotonic() - began < 15
    assert "instance 1 ended with exit code 7; ending the others" in err and not lines


@two
def test_keep_lets_the_others_finish():
    script = "if [ {instance} = 0 ]; then kill -KILL $$; fi; sleep 0.5; echo done"
    code, lines, err = run("--instances", "2", "--on-failure", "keep", "--", "sh", "-c", script)
    assert code == 128 + signal.SIGKILL and lines == ["[1] done"] and "instance 0 ended with SIGKILL" in err


@two
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_reach_all_and_their_handlers(number):
    code = ("import signal, sys, time\n"
            "def end(number, frame): print('got', number, flush=True); sys.exit(0)\n"
            "signal.signal(signal.SIGTERM, end); signal.signal(signal.SIGINT, end)\n"
            "print('ready', flush=True); time.sleep(30)")
    process = start("--instances", "2", "--", sys.executable, "-S", "-c", code)
    assert {process.stdout.readline(), process.stdout.readline()} == {"[0] ready\n", "[1] ready\n"}
    process.send_signal(number)
    out, _ = process.communicate(timeout=20)
    assert sorted(out.splitlines()) == [f"[0] got {number}", f"[1] got {number}"] and process.returncode == 0


def test_ctrl_c_without_a_handler():
    """Not a shell: one that is about to become the last program of its line loses a SIGINT."""
    script = "import signal, time; signal.signal(2, signal.SIG_DFL); print('ready', flush=True); time.sleep(30)"
    process = start("--", sys.executable, "-c", script)
    assert process.stdout.readline() == "[0] ready\n"
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == 130


def test_nohup():
    process = start("--", "sh", "-c", "echo ready; sleep 0.3; echo done", ignored="HUP")
    assert process.stdout.readline() == "[0] ready\n"
    process.send_signal(signal.SIGHUP)
    assert process.communicate(timeout=20)[0] == "[0] done\n" and process.returncode == 0


def test_who_does_not_end_is_killed():
    process = start("--grace", "0.3", "--", "sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done")
    assert process.stdout.readline() == "[0] ready\n"
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    assert process.returncode == 128 + signal.SIGKILL


def test_output_is_passed_on_by_lines():
    script = "printf 'a\\nb'; sleep 0.1; printf 'c\\n\\nlast'; echo problem >&2"
    code, lines, err = run("--", "sh", "-c", script)
    assert code == 0 and lines == sorted(["[0] a", "[0] bc", "[0] ", "[0] last"])
    assert "[0] problem" in err
    assert run("--no-prefix", "--", "printf", "a\\nb")[1] == ["a", "b"]


def test_a_line_without_an_end_does_not_fill_memory():
    code, lines, _ = run("--", "sh", "-c", "head -c 200000 /dev/zero | tr '\\0' x")
    assert code == 0 and sum(len(line) - len("[0] ") for line in lines) == 200_000 and len(lines) > 1


def test_grandchildren_that_hold_the_output_are_not_waited_for():
    began = time.monotonic()
    code, lines, _ = run("--", "sh", "-c", "sleep 5 & echo over; printf rest")
    assert code == 0 and lines == ["[0] over", "[0] rest"] and time.monotonic() - began < 4


@pytest.mark.parametrize(("flags", "words"), [
    (["--instances", "2"], "name the command after --"),
    (["--instances", "4000", "--", "true"], "4000 instances need 4000 cores"),
    (["--sizes", "1,x", "--", "true"], "--sizes 1,x: write positive whole numbers"),
    (["--sizes", "1", "--lengths", "8", "9", "--", "true"], "--lengths 8 9: give 1 rising lengths"),
    (["--", "no-such-command"], "no-such-command: no such command"),
    (["--sysfs", "/", "--", "true"], "--sysfs plans for another machine and runs nothing there"),
    (["--sysfs", "/", "--dry_run", "--", "true"], "name a copy of /sys"),
    (["--allocator", "mimalloc", "--", "true"], "--allocator mimalloc: not one of default, tcmalloc, jemalloc"),
    (["--allocator", "tcmalloc", "--huge_pages", "--dry_run", "--", "true"], "tcmalloc"),
])
def test_bad_wishes(flags, words, capsys):
    assert launch.main(flags) in (2, 6)
    assert words in capsys.readouterr().err


def test_a_file_that_is_no_program(tmp_path, capsys):
    (tmp_path / "program").write_bytes(b"\x7fELF nonsense")
    (tmp_path / "program").chmod(0o755)
    assert launch.main(["--", str(tmp_path / "program")]) == 2
    assert "it cannot be started (" in capsys.readouterr().err


def test_a_library_is_found_or_its_package_named(tmp_path):
    with pytest.raises(MissingDependencyError, match="apt-get install libjemalloc2"):
        library("jemalloc", [tmp_path])
    for name in ("libtcmalloc.so.4", "libtcmalloc_minimal.so.4"):
        (tmp_path / name).touch()
    assert library("tcmalloc", [tmp_path / "none", tmp_path]).name == "libtcmalloc_minimal.so.4"


def test_variables(tmp_path, monkeypatch):
    for name in ("libjemalloc.so.2", "libiomp5.so"):
        (tmp_path / name).touch()
    monkeypatch.setattr(launch_settings, "HUGE_PAGES", tmp_path / "thp")
    (tmp_path / "thp").write_text("always [madvise] never\n")
    here = {"LD_LIBRARY_PATH": str(tmp_path), "LD_PRELOAD": "mine.so", "MALLOC_CONF": "narenas:1"}
    found = variables(Settings("jemalloc", huge_pages=True, iomp=True, wait="passive", bind_threads=True), here)
    assert found == {"LD_PRELOAD": f"{tmp_path}/libiomp5.so:{tmp_path}/libjemalloc.so.2:mine.so",
                     "MALLOC_CONF": "narenas:1,thp:always", "OMP_WAIT_POLICY": "passive", "KMP_BLOCKTIME": "0",
                     "KMP_AFFINITY": "granularity=fine,compact,1,0"}
    assert variables(Settings(iomp=True), {**here, "KMP_BLOCKTIME": "200"}) == {
        "LD_PRELOAD": f"{tmp_path}/libiomp5.so:mine.so"}
    assert variables(Settings(bind_threads=True, wait="active"), {}) == {
        "OMP_PROC_BIND": "close", "OMP_PLACES": "cores", "OMP_WAIT_POLICY": "active"}
    monkeypatch.setattr(launch_settings.platform, "libc_ver", lambda: ("glibc", "2.36"))
    assert variables(Settings(huge_pages=True), {"GLIBC_TUNABLES": "glibc.malloc.check=0"}) == {
        "GLIBC_TUNABLES": "glibc.malloc.check=0:glibc.malloc.hugetlb=1"}
    assert variables(Settings(), {}) == {}


def test_huge_pages_that_the_system_does_not_give(tmp_path, monkeypatch):
    monkeypatch.setattr(launch_settings, "HUGE_PAGES", tmp_path / "thp")
    with pytest.raises(DeviceError, match="the system gives none"):
        variables(Settings(huge_pages=True), {})
    (tmp_path / "thp").write_text("[always] madvise never\n")
    monkeypatch.setattr(launch_settings.platform, "libc_ver", lambda: ("glibc", "2.31"))
    with pytest.raises(DeviceError, match=r"glibc 2\.31"):
        variables(Settings(huge_pages=True), {})
    with pytest.raises(UsageError, match="tcmalloc has no switch"):
        launch_settings.huge_pages_of("tcmalloc")
