"""Scores in files of predictions: all their digits, at both ends of a probability too."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from bertpass.engines.results import sigmoid
from bertpass.errors import DataError, ModelError
from bertpass.jobs.deployment.workload import Source, refuse_other_pairs
from bertpass.jobs.tasks.exported import find_pair
from bertpass.jobs.tasks.kinds import KINDS
from bertpass.passes.report import PassReport, PassResult
from bertpass.progress import Bar, log
from bertpass.text.data.tasks import get_task, own_task
from bertpass.text.example import Example

LOGITS = np.array([-700.0, -103.5, -38.0, -30.0, -13.9, -13.5, -1.0, 0.0, 0.25, 14.8, 15.0, 17.0, 30.0, 36.0])


def test_a_sigmoid_keeps_its_small_end() -> None:
    expit = pytest.importorskip("scipy.special", reason="pip install scipy").expit
    assert np.allclose(sigmoid(LOGITS), expit(LOGITS), rtol=1e-14, atol=0)
    assert sigmoid(np.float32(-38)) == pytest.approx(3.1391327920480296e-17, rel=1e-14)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert sigmoid(np.array([-1e4, 1e4])).tolist() == [0.0, 1.0]


@pytest.mark.parametrize(("kind", "task"), [("ranking", own_task("t", "ranking")),
                                            ("regression", own_task("t", "regression"))])
def test_different_scores_stay_different(kind: str, task: object) -> None:
    logits = np.unique(np.concatenate([LOGITS, np.linspace(-0.5, 0.5, 101)])).astype(np.float32)
    plain = logits[(np.abs(logits) < 8) & (np.abs(logits) > 1e-3)]
    logits = np.unique(np.concatenate([logits, np.nextafter(plain, np.float32(99))]))
    cells = [KINDS[kind].spelled(task, np.array([value])) for value in logits]  # type: ignore[index, arg-type]
    assert len(set(cells)) == len(logits)
    assert [float(cell) for cell in cells] == sorted(map(float, cells))


def test_limits_of_a_task_hold() -> None:
    task = get_task("STS-B")
    assert [KINDS["regression"].spelled(task, np.array([value], np.float32)) for value in (-1.0, 5.5, 3.1)] == [
        "0", "5", "3.0999999"]


def test_our_warnings_are_one_line() -> None:
    """In a process of its own, because pytest catches warnings."""
    program = (
        "import warnings, numpy as np; from bertpass.commands.run import guarded\n"
        "from bertpass.jobs.tasks.kinds import KINDS\n"
        "from bertpass.jobs.tasks.predict import Dataset; from bertpass.text.data.tasks import own_task\n"
        "data = Dataset([0, 1], np.array([1.0, 2.0]))\n"
        "outputs = [np.ones(1), np.ones(1)]\n"
        "guarded(lambda: print(KINDS['regression'].score(own_task('t', 'regression'), outputs, data)))\n"
        "warnings.warn('of another program')")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "{'pearson': 0.0, 'spearman': 0.0}\n"
    first, *others = done.stderr.splitlines()
    assert first.startswith("warning: pearson is not defined, because all predictions or all labels are the same")
    assert "UserWarning: of another program" in " ".join(others)


def test_a_model_of_pairs_refuses_single_texts() -> None:
    single = Source(own_task("t", "classification", ("a", "b")), ["x.csv"], {"x": [Example("text", None, None, "0")]})
    refuse_other_pairs(single, False)
    refuse_other_pairs(single, None)
    with pytest.raises(DataError, match=r"x\.csv has single texts, and the model was trained on pairs of texts"):
        refuse_other_pairs(single, True)


def test_the_exported_pair_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "o" / "WNLI" / "bundle").mkdir(parents=True)
    for place in ("o/WNLI/WNLI-symbol.json", "o/WNLI/bundle/model-symbol.json"):
        (tmp_path / place).write_text(json.dumps({}))
    for wrong in ("o/WNLI", "o", "o/WNLI/SST", "o/SST"):
        with pytest.raises(ModelError, match=re.escape(f"did you mean {tmp_path / 'o' / 'WNLI' / 'WNLI'}?")):
            find_pair(tmp_path / wrong)
    with pytest.raises(ModelError, match="export the model first"):
        find_pair(tmp_path / "elsewhere" / "WNLI")


def test_the_table_of_passes_says_what_was_compared() -> None:
    one = PassResult("bias_gelu", 2, (), (), 0.1)
    assert "verified after each pass; its outputs were not compared" in str(PassReport("cpu", None, [one]))
    assert "compared" not in str(PassReport("cpu", None, [PassResult("bias_gelu", 2, (), (), 0.1, 1e-7)]))


def test_the_rate_after_a_resume_is_of_this_run(caplog: pytest.LogCaptureFixture,
                                                monkeypatch: pytest.MonkeyPatch) -> None:
    """80 steps were done before; 10 more took 10 seconds, so 310 take 310."""
    clock = [0.0]
    monkeypatch.setattr("bertpass.progress.time.monotonic", lambda: clock[0])
    monkeypatch.setattr("bertpass.progress.EVERY", 5.0)
    monkeypatch.setattr(log, "propagate", True)
    with caplog.at_level("INFO", logger="bertpass"), Bar("fine-tuning", 400, "steps") as bar:
        bar.begin_at(80)
        clock[0] = 10.0
        bar.advance(10)
    assert "90/400 steps  0:00:10, left 0:05:10" in caplog.text
