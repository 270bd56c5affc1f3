"""Times to ratios and shares, worked out by hand; what a run says about noise."""

import itertools
import threading

import pytest

from bertpass.bench import quiet, timing, workloads
from bertpass.bench.cpu.results import Measured, ModelResults
from bertpass.bench.timing import Timing
from bertpass.bench.variants import Variant
from bertpass.model.config import EncoderConfig
from tests.helpers import reference

CONFIG = EncoderConfig(**reference.SIZES)


def timed(milliseconds):
    return Timing(milliseconds, milliseconds, milliseconds, 5, 5)


def results(**times):
    """Engines NAME_PRECISION -> ms by workload; names that begin with "ours" are ours."""
    work = [w for family in ("1x8", "sst") for w in workloads.of_family(family)]
    measured = []
    for name, by_workload in times.items():
        precision = name.split("_")[1]
        entry = Measured(Variant(name, name.split("_")[0], precision, ours=name.startswith("ours")))
        entry.timings = {k: timed(v) for k, v in by_workload.items()}
        measured.append(entry)
    return ModelResults("tiny", "random", CONFIG, work, "peer_float32", measured)


def test_ratios():
    found = results(ours_bfloat16={"1x8": 2.0, "sst padded to 128": 5.0, "sst longest": 4.0},
                    a_bfloat16={"1x8": 6.0, "sst padded to 128": 40.0, "sst longest": 20.0, "sst groups": 12.0},
                    b_bfloat16={"1x8": 5.0, "sst padded to 128": 44.0, "sst longest": 16.0},
                    c_int8={"1x8": 3.0, "sst padded to 128": 30.0})
    ours = found.of("ours_bfloat16")
    full, ragged = found.ratio(ours, "1x8"), found.ratio(ours, "sst")
    assert (full.same, full.overall, full.padded) == ((2.5, "b_bfloat16"), (1.5, "c_int8"), None)
    assert ragged.same == (3.0, "a_bfloat16")  # groups, its best layout, against our best
    assert ragged.overall == (3.0, "a_bfloat16") and ragged.padded == (10.0, "a_bfloat16")


def test_ratios_without_peers_or_times():
    found = results(ours_float32={"1x8": 2.0}, ours_int8={}, peer_bfloat16={"1x8": 1.0})
    alone = found.ratio(found.of("ours_float32"), "1x8")
    assert (alone.same, alone.overall) == (None, (0.5, "peer_bfloat16"))
    assert found.ratio(found.of("ours_int8"), "1x8") is None and found.of("nobody") is None


def test_share_of_the_peak():
    found = results(ours_float32={"sst padded to 128": 2.0})
    padded, longest = found.workloads[1], found.workloads[2]
    needed = workloads.flops(CONFIG, padded.lengths)
    assert found.share(padded, timed(2.0), needed * 1000) == pytest.approx(0.5)
    assert found.share(longest, timed(2.0), needed * 1000) == pytest.approx(0.5)  # padding is nobody's work
    assert found.share(padded, timed(2.0), None) is None


def test_what_the_file_holds():
    found = results(ours_float32={"1x8": 2.0}, peer_float32={"1x8": 3.0})
    found.of("peer_float32").failure = "it broke."
    content = found.to_dict({"float32": 1e9})
    ours, peer = content["engines"]
    assert ours["ratios"] == {"1x8": {"same_precision": {"ratio": 1.5, "peer": "peer_float32"},
                                      "overall": {"ratio": 1.5, "peer": "peer_float32"}, "padded": None}}
    assert peer["failure"] == "it broke." and "ratios" not in peer
    assert ours["timings"]["1x8"]["median_ms"] == 2.0 and ours["timings"]["1x8"]["share_of_peak"] > 0
    assert [w["name"] for w in content["workloads"]] == ["1x8", "sst padded to 128", "sst longest", "sst groups"]


def test_timing_of_rounds():
    found = Timing.of([[0.010, 0.012], [0.011, 0.013], [0.020, 0.022]])
    assert found.median == pytest.approx(12.5) and (found.rounds, found.calls) == (3, 6)
    assert found.low == pytest.approx(11.2) and found.high == pytest.approx(19.2)
    assert found.spread == pytest.approx(0.64) and found.noisy and not timed(3.0).noisy


def test_fast_calls_are_repeated_and_slow_ones_get_fewer_rounds():
    rounds, turns = timing.plan({"fast": 0.004, "slow": 0.5}, 15, 1e9)
    assert rounds == 15 and turns == {"fast": (1, 25), "slow": (0, 1)}
    each = 26 * 0.004 + 0.5 + 2 * timing.PAUSE
    assert timing.plan({"fast": 0.004, "slow": 0.5}, 15, 8.5 * each)[0] == 8
    assert timing.plan({"slow": 9.0}, 15, 1.0)[0] == timing.LEAST_ROUNDS
    assert timing.plan({"slow": 9.0}, 2, 1.0)[0] == 2


def topology(root, siblings):
    for cpu, text in siblings.items():
        folder = root / f"devices/system/cpu/cpu{cpu}/topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(text + "\n")
    return root


def test_processors_one_a_core_first(tmp_path):
    root = topology(tmp_path, {0: "0,4", 1: "1,5", 2: "2,6", 4: "0,4", 5: "1,5"})
    allowed = [0, 4, 1, 5, 2]
    assert quiet.pick(2, allowed, root) == [0, 1]
    assert quiet.pick(3, allowed, root) == [0, 1, 2]
    assert quiet.pick(4, allowed, root) == [0, 1, 2, 4]
    assert quiet.pick(9, allowed, root) == [0, 1, 2, 4, 5]
    assert quiet.pick(2, [3, 7], tmp_path / "nothing") == [3, 7]


def test_load_of_others(tmp_path, monkeypatch):
    stat = tmp_path / "stat"
    stat.write_text("cpu  100 20 30 999 50 6 7 8 0 0\ncpu0 1 1 1 1\n")
    monkeypatch.setattr(quiet.os, "sysconf", lambda name: 100)
    assert quiet.busy_seconds(stat) == pytest.approx(1.71)  # user, nice, system, interrupts, stolen
    assert quiet.busy_seconds(tmp_path / "none") == 0.0
    others = quiet.Others()
    assert others.load == 0.0
    clock = itertools.count(0.0, 2.0)  # seconds: each pause lasts two
    monkeypatch.setattr(quiet.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(quiet.time, "sleep", lambda seconds: None)
    busy = itertools.count(0.0, 3.0)
    monkeypatch.setattr(quiet, "busy_seconds", lambda: next(busy))
    others.pause(1.0)
    others.pause(1.0)
    assert others.load == pytest.approx(1.5)


def test_rest_waits_for_threads_that_spin():
    stop = threading.Event()

    def spin():
        while not stop.is_set():
            pass

    spinning = threading.Thread(target=spin)
    spinning.start()
    try:
        quiet.rest(most=0.05)  # gives up
        threading.Timer(0.2, stop.set).start()
        quiet.rest(most=60)
        assert stop.is_set()
    finally:
        stop.set()
        spinning.join()
