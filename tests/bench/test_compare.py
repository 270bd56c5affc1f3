"""bertpass compare: verdicts by spreads, what differs between the runs, exit codes."""

import copy

import pytest

from bertpass.bench.pages import comparison, result_files
from bertpass.commands import main as commands
from tests.helpers import result_content as content


def slower(factor, work="1x128", name="native-float32"):
    found = content.cpu()
    entry = next(e for e in found["models"][0]["engines"] if e["name"] == name)
    entry["timings"][work] = content.timing(round(entry["timings"][work]["median_ms"] * factor, 3))
    return found


def read(folder, **contents):
    from pathlib import Path

    return [result_files.read(Path(path)) for path in content.written(folder, **contents)]


@pytest.mark.parametrize("factor, verdict", [(1.0, "same"), (1.08, "same"), (1.15, "slower"), (0.93, "same"),
                                             (0.85, "faster")])
def test_verdicts_need_spreads_apart(tmp_path, factor, verdict):
    a, b = read(tmp_path, a=content.cpu(), b=slower(factor))  # each 5 % around its median
    pairs = {(p.first.engine, p.first.workload): p for p in comparison.compare(a, b).pairs}
    changed = pairs.pop(("native-float32", "1x128"))
    assert changed.verdict == verdict and changed.ratio == pytest.approx(factor, rel=1e-3)
    assert {p.verdict for p in pairs.values()} == {"same"}


def test_rates_and_figures_without_a_spread(tmp_path):
    faster = content.finetuning()
    faster["runs"][0]["ours"]["samples_per_second"] *= 2
    pair = comparison.compare(*read(tmp_path, a=content.finetuning(), b=faster)).pairs[0]
    assert pair.ratio == pytest.approx(0.5) and pair.verdict == "no spread"  # half the time; one run says no more


def test_what_differs_and_what_is_alone(tmp_path):
    other = copy.deepcopy(content.cpu())
    other["environment"]["machine"]["cpu"] = "Another CPU"
    other["environment"]["versions"]["torch"] = "9"
    other["environment"]["command"] = "something else"
    other["environment"]["revision"] = "def"
    del other["models"][0]["engines"][1]
    found = comparison.compare(*read(tmp_path, a=content.cpu(), b=other))
    assert found.differences == [("machine, cpu", "Some CPU", "Another CPU"), ("versions, torch", "none", "9"),
                                 ("revision", "abc", "def")]
    assert found.alone == [f"tiny <b>&, {work}, native-int8: only in the first"
                           for work in ("1x64", "1x128", "8x128", "sst")]
    text = comparison.markdown(found, "a.json", "b.json")
    assert text.index("Another CPU") < text.index("| tiny <b>& | 1x64 | native-float32 | 4.00 (3.80–4.20) ms |")


@pytest.mark.parametrize("factor, limit, code", [(1.5, None, 0), (1.5, "1.1", 1), (1.5, "1.6", 0), (1.08, "1.05", 0),
                                                 (0.5, "1.1", 0)])
def test_exit_code(tmp_path, capsys, factor, limit, code):
    files = content.written(tmp_path, a=content.cpu(), b=slower(factor))
    words = ["compare", *files, *(["--fail-above", limit] if limit else []), "--output", str(tmp_path / "new/c.md")]
    assert commands.main(words) == code
    assert (tmp_path / "new/c.md").read_text(encoding="utf-8").count("native-float32") == 4
    assert ("the worst native-float32 on 1x128: 1.50x" in capsys.readouterr().out) == bool(code)


def test_bad_inputs(tmp_path, capsys):
    twice = content.cpu()
    twice["models"] *= 2
    other = content.cpu()
    other["models"][0]["model"] = "other"
    a, passes, twice, other = content.written(tmp_path, a=content.cpu(), passes=content.passes(), twice=twice,
                                              other=other)
    for words, code, sentence in (([a, passes], 3, "compare files of one kind"), ([a, twice], 3, "is in it twice"),
                                  ([a, other], 3, "in common"), ([a, a, "--fail-above", "0.5"], 2, "at least 1"),
                                  ([a, a, "--output", str(tmp_path)], 2, "is a folder"), ([a], 2, "second")):
        assert commands.main(["compare", *words]) == code
        assert sentence.lower() in capsys.readouterr().err.lower()
