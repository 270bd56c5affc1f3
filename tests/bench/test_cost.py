"""Cost: the published prices, what is measured and what is extrapolated, the bound, bad lists and results."""

import json

import pytest

from bertpass.bench.pages import cost, prices
from bertpass.commands.production import plan
from bertpass.errors import DataError, UsageError

pytest.importorskip("yaml", reason="pip install '.[plan]' for price lists")

ENVIRONMENT = {"machine": {"cpu": "Test CPU", "cpus_usable": 4}, "threads": 2, "revision": "0123456789abcdef",
               "command": "bertpass bench cpu"}


def timing(median, p90=None, noisy=False):
    return {"median_ms": median, "p90_ms": p90 or median, "noisy": noisy}


@pytest.fixture
def results(tmp_path):
    """A file of each kind: 1x128 in 10 ms (int8: 4 ms, error 0.1), 8x128 in 50 ms, sst in two layouts; 2 instances."""
    def work(name, family, layout, lengths):
        return {"name": name, "family": family, "layout": layout, "lengths": lengths}

    engines = [{"name": "native-float32", "precision": "float32", "relative_error": 1e-6, "timings": {
                    "1x128": timing(10.0, 12.0), "8x128": timing(50.0), "sst longest": timing(40.0),
                    "sst groups": timing(20.0, noisy=True)}},
               {"name": "native-int8", "precision": "int8", "relative_error": 0.1, "timings": {"1x128": timing(4.0)}},
               {"name": "broken", "precision": "int8", "relative_error": None, "timings": {}}]
    for engine in engines:
        engine |= {"ours": engine["name"].startswith("native"), "failure": "" if engine["timings"] else "it broke"}
    compared = {"environment": ENVIRONMENT, "models": [{"model": "tiny", "engines": engines, "workloads": [
        work("1x128", "1x128", "", [128]), work("8x128", "8x128", "", [128] * 8),
        work("sst longest", "sst", "longest", [5, 9]), work("sst groups", "sst", "groups", [5, 9])]}]}
    cells = [{"engine": "native-float32", "instances": 2, "cores": 1, "rows": 1, "length": 128, **timing(16.0),
              "sequences_per_second": 125.0}]
    scaled = {"environment": ENVIRONMENT, "scaling": [{"model": "tiny", "engines": engines[:1], "cells": cells,
                                                       "failures": []}]}
    files = []
    for name, content in (("cpu.json", compared), ("scaling.json", scaled)):
        (tmp_path / name).write_text(json.dumps(content))
        files.append(str(tmp_path / name))
    return files


def test_the_published_prices():
    """A million requests at the published costs need the rates that 16.5 times the cost says."""
    listed = prices.read()
    assert {name: price.dollars_per_hour for name, price in listed.machines.items()} == {
        "m5.xlarge": 0.192, "c5.xlarge": 0.17, "c5.24xlarge": 4.08, "g4dn.xlarge": 0.526}
    assert listed.date == "2020" and "1 million requests for 20 cents" in listed.source
    assert listed.of("g4dn.xlarge").per_million(730.6) == pytest.approx(0.20, abs=0.001)
    assert listed.of("c5.xlarge").per_million(14.27) == pytest.approx(3.31, abs=0.005)
    assert listed.of("c5.24xlarge").cores == 48


def test_what_is_read(results):
    found = {(m.engine, m.request, m.rows, m.configuration): m for file in results for m in cost.read(plan.Path(file))}
    assert set(found) == {("native-float32", "128 tokens", 1, "1 x 2"), ("native-float32", "128 tokens", 8, "1 x 2"),
                          ("native-float32", "sst", 2, "1 x 2"), ("native-int8", "128 tokens", 1, "1 x 2"),
                          ("native-float32", "128 tokens", 1, "2 x 1")}
    eight = found["native-float32", "128 tokens", 8, "1 x 2"]
    assert eight.per_second == pytest.approx(160.0) and eight.latency == 50.0
    assert found["native-float32", "128 tokens", 1, "1 x 2"].latency == 12.0
    ragged = found["native-float32", "sst", 2, "1 x 2"]
    assert ragged.median == 20.0 and ragged.per_second == pytest.approx(100.0) and ragged.noisy


def offers(results, extrapolate=False, machine=("c5.xlarge",)):
    listed = prices.read()
    measured = [m for file in results for m in cost.read(plan.Path(file))]
    owned = cost.owners(machine, ["cpu.json", "scaling.json"], listed)
    return cost.offers(measured, owned, listed, extrapolate)


def test_measured_offers(results):
    found = offers(results)
    assert len(found) == 5 and not any(offer.extrapolated for offer in found)
    assert [o.dollars for o in found] == sorted(o.dollars for o in found)
    best = found[0]
    assert best.measurement.engine == "native-int8"
    assert best.dollars == pytest.approx(0.17 / 3600 / 250 * 1e6)


def test_extrapolation_is_by_cores_and_marked(results):
    found = [o for o in offers(results, extrapolate=True) if o.measurement.engine == "native-int8"]
    by_name = {o.price.name: o for o in found}
    assert set(by_name) == {"c5.xlarge", "c5.24xlarge", "m5.xlarge"}  # nothing is said of the one with a GPU
    assert not by_name["c5.xlarge"].extrapolated and by_name["c5.24xlarge"].extrapolated
    assert by_name["c5.24xlarge"].copies == 24 and by_name["m5.xlarge"].copies == 1
    assert by_name["c5.24xlarge"].per_second == pytest.approx(24 * 250)
    small = prices.PriceList({"one": prices.Price("one", 1.0, 2)}, "", "")
    assert not cost.offers([found[0].measurement], {}, small, True)  # a core, and two are needed


def test_bounds(results):
    found = offers(results)
    assert len(cost.within(found, 12.0, None)) == 2 and len(cost.within(found, 12.0, 0.05)) == 1
    assert not cost.within(found, 1.0, None)


def test_machines_of_files():
    listed = prices.read()
    found = cost.owners(["c5.xlarge", "some/b.json=m5.xlarge"], ["a.json", "b.json"], listed)
    assert {file: price.name for file, price in found.items()} == {"a.json": "c5.xlarge", "b.json": "m5.xlarge"}
    with pytest.raises(UsageError, match=r"Did you mean 'c5\.xlarge'"):
        cost.owners(["c5.xlage"], ["a.json"], listed)
    with pytest.raises(UsageError, match=r"unknown result file 'c\.json'"):
        cost.owners(["c.json=c5.xlarge"], ["a.json"], listed)


def test_the_command(results, tmp_path, capsys):
    assert plan.main(["--slo-ms", "20", "--results", *results, "--machine", "c5.xlarge", "--output",
                      str(tmp_path / "new" / "plan.json")]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "native-int8, batches of 1, 1 x 2 cores of c5.xlarge at 0.17 $ an hour: 250 a second, 4 ms" in out
    assert "measured on Test CPU with 4 processors (cpu.json), which you say is c5.xlarge" in out
    assert "revision 0123456789: bertpass bench cpu" in out and "EXTRAPOLATED" not in out
    assert "prices: AWS" in out and "waiting for its other requests" in out
    written = json.loads((tmp_path / "new" / "plan.json").read_text())
    assert {o["machine"] for o in written["offers"]} == {"c5.xlarge"} and not written["offers"][0]["extrapolated"]


def test_the_command_extrapolates_where_it_is_asked_to(results, capsys):
    assert plan.main(["--slo_ms", "20", "--results", *results, "--extrapolate", "--max_error", "0.01"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "EXTRAPOLATED: measured on Test CPU with 4 processors" in out and "was not measured" in out
    assert "which you say is" not in out and "native-int8, batches" not in out and "g4dn" not in out


def test_nothing_keeps_the_bound(results, capsys):
    assert plan.main(["--slo_ms", "1", "--results", results[0], "--machine", "c5.xlarge"]) == 1
    told = capsys.readouterr()
    assert "the fastest is native-int8 with batches of 1 as 1 x 2 in 4 ms" in told.out
    assert "nothing that was measured keeps 1 ms" in told.err


@pytest.mark.parametrize(("text", "words"), [
    ("machines: [", "no price list can be read"),
    ("- a", "it has no list 'machines'"),
    ("machines: []", "it has no list 'machines'"),
    ("machines: [{dollars_per_hour: 1}]", "machine 1: give it a name"),
    ("machines: [{name: a, dollars_per_hour: -1, vcpus: 2}]", "machine 1 (a): dollars_per_hour has to be a positive"),
    ("machines: [{name: a, dollars_per_hour: .inf, vcpus: 2}]", "dollars_per_hour has to be a positive"),
    ("machines: [{name: a, dollars_per_hour: 1}]", "vcpus has to be a positive whole number"),
    ("machines: [{name: a, dollars_per_hour: 1, vcpus: 2, threads_per_core: true}]", "threads_per_core has to be"),
    ("machines: [{name: a, dollars_per_hour: 1, vcpu: 2}]", "Did you mean 'vcpus'"),
    ("machines: [{name: a, dollars_per_hour: 1, vcpus: 2}, {name: a, dollars_per_hour: 2, vcpus: 2}]", "a is there"),
])
def test_bad_price_lists(text, words, tmp_path):
    (tmp_path / "prices.yaml").write_text(text)
    with pytest.raises(DataError) as error:
        prices.read(tmp_path / "prices.yaml")
    assert words in str(error.value)


@pytest.mark.parametrize(("change", "words"), [
    (lambda c: c.pop("environment"), "is not whole"),
    (lambda c: c["environment"].pop("revision"), "is not whole"),
    (lambda c: c["models"][0].pop("workloads"), "is not whole"),
    (lambda c: c.update(models=[]), "nothing was measured in it"),
    (lambda c: c["models"][0]["engines"][0]["timings"]["1x128"].clear(), "is not whole"),
    (lambda c: c["models"][0]["engines"][0]["timings"]["1x128"].pop("p90_ms"), "is not whole"),
    (lambda c: c.update(runs=[], models=None), "nothing was measured in it|is not whole"),
])
def test_bad_results(change, words, results, tmp_path):
    content = json.loads((tmp_path / "cpu.json").read_text())
    change(content)
    (tmp_path / "cpu.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=words):
        cost.read(tmp_path / "cpu.json")


@pytest.mark.parametrize(("flags", "code", "words"), [
    (["--slo_ms", "20"], 2, "RESULTS is needed"),
    (["--results", "x.json", "--machine", "c5.xlarge"], 2, "--slo_ms is needed"),
    (["--slo_ms", "20", "--results", "x.json"], 2, "say with --machine NAME"),
    (["--slo_ms", "20", "--results", "x.json", "--machine", "c5.xlarge"], 3, "it cannot be read (No such file"),
    (["--slo_ms", "20", "--results", "x.json", "--machine", "c9"], 2, "unknown machine 'c9'"),
    (["--slo_ms", "20", "--results", "x.json", "x.json", "--extrapolate"], 2, "give the files different names"),
    (["--slo_ms", "20", "--prices", "none.yaml", "--results", "x", "--extrapolate"], 3, "no price list can be read"),
])
def test_bad_flags(flags, code, words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert plan.main(flags) == code
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(("flags", "words"), [
    (["--model", "tin"], "Did you mean 'tiny'"),
    (["--requests", "64 tokens"], "unknown kind '64 tokens'. Did you mean '128 tokens'"),
])
def test_what_the_results_lack(flags, words, results, capsys):
    assert plan.main(["--slo_ms", "20", "--results", *results, "--machine", "c5.xlarge", *flags]) == 2
    assert words in capsys.readouterr().err


def test_several_models_want_a_choice(results, tmp_path, capsys):
    content = json.loads((tmp_path / "cpu.json").read_text())
    content["models"].append({**content["models"][0], "model": "large"})
    (tmp_path / "cpu.json").write_text(json.dumps(content))
    assert plan.main(["--slo_ms", "20", "--results", results[0], "--machine", "c5.xlarge"]) == 2
    assert "choose with --model: tiny, large" in capsys.readouterr().err
