"""A process of our own that is asked over a socket: answers, refusals, its end."""

import os
import signal
import sys
import time
from multiprocessing.connection import wait

import pytest

from bertpass.base.child import Child, Ended, Refused
from bertpass.base.paths import ROOT

PROGRAM = """
import os, signal, time
from bertpass.base.child import serve
from bertpass.errors import UsageError

def answer(what, value):
    if what == "refuse":
        raise UsageError(value)
    if what == "fail":
        raise ValueError(value)
    if what == "sleep":
        time.sleep(value)
    if what == "print":
        print(value, flush=True)
    return os.environ["MARK"], sorted(os.sched_getaffinity(0)), value

serve(answer, [signal.SIGINT])
"""


@pytest.fixture
def start(tmp_path, monkeypatch):
    (tmp_path / "program.py").write_text(PROGRAM)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    children = []

    def started(**options):
        children.append(Child("program", variables={"MARK": "here"}, root=tmp_path, **options))
        return children[-1]

    yield started
    for child in children:
        child.close()
        assert child.process.poll() is not None


def test_answers_and_refusals(start):
    cpu = min(os.sched_getaffinity(0))
    child = start(cpus=[cpu])
    child.send("echo", 3)
    assert child.receive() == ("here", [cpu], 3)
    child.send("refuse", "give another one.")
    with pytest.raises(Refused, match=r"^give another one\.$") as refused:
        child.receive()
    assert refused.value.trace is None
    child.send("fail", "not\nfor people")
    with pytest.raises(Refused, match=r"^ValueError: not for people$") as refused:
        child.receive(10)
    assert "Traceback" in refused.value.trace and "in answer" in refused.value.trace
    os.kill(child.pid, signal.SIGINT)
    child.send("echo", 4)
    assert child.receive()[2] == 4, "goes on after a failure, and the parent handles the signal"


def test_time_and_end(start):
    child = start()
    child.send("sleep", 60)
    with pytest.raises(TimeoutError):
        child.receive(0.1)
    child.kill()
    with pytest.raises(Ended):
        child.receive()
    child.process.wait(10)
    with pytest.raises(Ended):
        child.send("echo", "x" * 1_000_000)


def test_it_ends_with_its_parents_end_of_the_socket(start):
    child = start()
    child.send("echo", 1)
    child.receive()
    began = time.monotonic()
    child.close(grace=30)
    assert child.process.returncode == 0 and time.monotonic() - began < 25


def test_output_and_python(start, tmp_path):
    with (tmp_path / "log").open("ab") as output:
        child = start(output=output, python=sys.executable)
    child.send("print", "what a library prints")
    child.receive()
    assert "what a library prints" in (tmp_path / "log").read_text()


def test_whether_an_answer_is_there(start):
    """Not before it is whole; of one that is larger than the socket's buffer never; at the end of the process."""
    child = start()
    child.send("sleep", 0.3)
    assert not child.answered()
    wait([child], 30)
    assert child.answered() and child.receive()[2] == 0.3 and not child.answered()
    large = "x" * 5_000_000
    child.send("echo", large)
    wait([child], 30)
    time.sleep(0.3)
    assert not child.answered() and child.receive()[2] == large and not child.answered()
    child.kill()
    wait([child], 30)
    assert child.answered()
    with pytest.raises(Ended):
        child.receive()
