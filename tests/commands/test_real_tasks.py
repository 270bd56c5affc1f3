"""Every task of the published script on its real files: read, exported, passed, run and scored by deploy.py.

The weights are random, so the scores mean nothing; what is tested is that files, columns, labels and metrics fit.
"""

import json
import os
from pathlib import Path

import pytest
import toy

from bertpass.commands import deploy
from bertpass.text.tasks import TASKS

DATA = os.environ.get("BERTPASS_DATA")
METRICS = {"MRPC": {"accuracy", "f1"}, "QQP": {"accuracy", "f1"}, "CoLA": {"matthews", "accuracy"},
           "STS-B": {"pearson", "spearman"}, "embedding": {"pearson", "spearman"}, "QA": {"exact", "f1", "total"}}


@pytest.mark.data
@pytest.mark.skipif(not DATA, reason="needs real data: set BERTPASS_DATA to a folder in GLUE and SQuAD layout")
@pytest.mark.parametrize("task", list(TASKS))
def test_task_runs_on_its_real_dev_file(task, encoder, tmp_path, capsys):
    code = deploy.main(toy.deploy("--bert_model", encoder, "--task", task, "--data_dir", DATA, "--max_iters", "8",
                                  "--seq_length", "48", "--QA_doc_stride", "16", "--QA_max_query_length", "12",
                                  "--output_dir", tmp_path))
    said = capsys.readouterr()
    assert code == 0, said.err
    result = json.loads((tmp_path / task / "result.json").read_text(encoding="utf-8"))
    assert set(result["metrics"]) == METRICS.get(task, {"accuracy"})
    assert (result["iterations"] == 8 and result["sequences"] == 8 * result["batch_size"]) or result["complete"]
    assert Path(result["files"][0]).is_file()
    passes = {p["name"]: p["rewrites"] for p in result["settings"]["passes"]["passes"]}
    assert passes["native_encoder"] == 1
