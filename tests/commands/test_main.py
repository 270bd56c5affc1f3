"""The command bertpass: its small tools."""

import json

import numpy as np
import pytest

from bertpass.commands.main import main
from bertpass.commands.table import commands
from bertpass.model.checkpoint import load_checkpoint
from bertpass.model.files import params_file
from bertpass.model.layouts.bundle import Bundle
from tests.helpers import toy


def test_lists_its_commands(capsys):
    assert main([]) == 0
    out = capsys.readouterr().out
    assert all(name.split()[0] in out for name, _ in commands())
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip()[0].isdigit()


def test_passes_the_flags_on(sst, tmp_path, capsys):
    argv = toy.deploy("--model_parameters", sst / "net.params", "--text", "good film", "--output_dir", tmp_path)
    assert main(["deploy", *argv]) == 0
    assert json.loads(capsys.readouterr().out)["predictions"][0]["label"] == "1"


@pytest.mark.parametrize("library", [[], ["--library", str(toy.LIBRARY)]], ids=["core", "library"])
def test_optimize(library, sst, tmp_path, capsys):
    argv = toy.strings("--input", sst / "bundle" / "model", "--output", tmp_path / "new", "--check", *library)
    assert main(["optimize", *argv]) == 0
    assert "interleave_qkv" in capsys.readouterr().out
    assert sorted(p.name for p in tmp_path.iterdir()) == ["new-0000.params", "new-symbol.json"]


def test_convert_there_and_back(sst, tmp_path):
    """Bundle -> Hugging Face -> bundle -> GluonNLP: the same bits everywhere."""
    steps = [("huggingface", sst / "bundle", tmp_path / "folder"), ("bundle", tmp_path / "folder", tmp_path / "again"),
             ("gluonnlp", tmp_path / "again", tmp_path / "net.params")]
    for form, source, target in steps:
        assert main(["convert", *toy.strings("--format", form, "--input", source, "--output", target)]) == 0
    first = Bundle.open(sst / "bundle").parameters()
    for found in (load_checkpoint(tmp_path / "folder").params, Bundle.open(tmp_path / "again").parameters(),
                  params_file.read(tmp_path / "net.params")):
        assert set(found) == set(first) and all(np.array_equal(found[n], first[n]) for n in first)


def test_bench(encoder, tmp_path, capsys):
    argv = toy.strings("--bert_model", encoder, "--shapes", "1x8", "2x16", "--rounds", 3, "--output",
                       tmp_path / "new" / "figures.json")
    assert main(["bench", "passes", *argv]) == 0
    figures = toy.result(tmp_path / "new", "figures.json")
    names = [variant["name"] for variant in figures["variants"]]
    assert names[0] == "no pass" and names[-1] == "all passes" and "interleave_qkv" in names
    assert all(variant["difference"] <= 1e-5 for variant in figures["variants"])
    assert set(figures["variants"][0]["latency"]) == {"1 x 8", "2 x 16"}
    assert figures["variants"][0]["ratio"]["1 x 8"] == 1
    assert "max difference" in capsys.readouterr().out
