"""The command line that is made from a dataclass."""

from dataclasses import dataclass

import pytest

from bertpass.errors import UsageError
from bertpass.options import flag, gpu_flag, parse


@dataclass
class Options:
    dtype: str = flag("float32", "precision", choices=("float32", "float16"))
    steps: int | None = flag(None, "100% of the steps", least=1)
    names: list[str] = flag(["a"], "names")
    lr: float = flag(1e-3, "rate", least=0, most=1)
    quiet: bool = flag(False, "say less", aliases=("-q",))
    gpu: int | None = gpu_flag()


def run(*argv):
    return parse(Options, list(argv), "a test")


def test_defaults_and_values():
    assert run() == Options()
    got = run("--dtype", "float16", "--steps", "3", "--names", "x", "y", "-q", "--lr", "0.5")
    assert got == Options("float16", 3, ["x", "y"], 0.5, True, None)


@pytest.mark.parametrize(("argv", "device"), [([], None), (["--gpu"], 0), (["--gpu", "2"], 2), (["--gpu", "0"], 0)])
def test_gpu_means_the_same_everywhere(argv, device):
    assert run(*argv).gpu == device


@pytest.mark.parametrize(("argv", "words"), [
    (["--dtype", "float15"], ["--dtype", "float15", "float32, float16", "Did you mean"]),
    (["--steps", "0"], ["--steps 0", "at least 1"]),
    (["--steps", "x"], ["--steps x: must be a whole number."]),
    (["--steps"], ["--steps: a value has to follow this flag."]),
    (["--lr", "2"], ["--lr 2", "at most 1"]),
    (["--lr", "nan"], ["--lr nan"]),
    (["--gpu", "-1"], ["--gpu -1", "at least 0"]),
    (["--step", "3"], ["--step", "Did you mean '--steps'"]),
])
def test_bad_values_name_the_flag_and_what_is_allowed(argv, words):
    with pytest.raises(UsageError) as caught:
        run(*argv)
    for word in words:
        assert word in str(caught.value)


@dataclass
class Grouped:
    fine: int = flag(1, "fine", group="low precision", rare=True)
    model: str = flag("m", "model", group="model")
    vocab: str | None = flag(None, "vocabulary", group="model", rare=True)
    other: str | None = flag(None, "other", rare=True)
    needed: str = flag("", "needed", required=True)


@pytest.mark.parametrize("words", [["--help", "all"], ["--help-all"], ["--help_all"], ["-h", "all"], ["--help"],
                                   ["-h"]])
def test_rare_flags_are_shown_where_all_are_asked_for(words, capsys):
    with pytest.raises(SystemExit):
        parse(Grouped, words, "a test")
    out = capsys.readouterr().out
    everything = "all" in "".join(words)
    shown = [word for word in ("\nneeded:", "--needed NAME", "\nmodel:", "--model", "--vocab", "\nlow precision:",
                               "--fine", "--other", "\ngeneral:") if word in out]
    assert [word for word in shown if word in ("--vocab", "\nlow precision:", "--fine", "--other")] == (
        ["--vocab", "\nlow precision:", "--fine", "--other"] if everything else [])
    assert out.index("\nneeded:") < out.index("\nmodel:") < out.index("\ngeneral:")
    assert ("3 more flags are rarely needed" in out) != everything


@dataclass
class Words:
    model: str = flag("minilm", "model", positional=True, formerly=("--bert_model",))
    lengths: list[int] = flag([], "lengths", formerly=("--sizes",))
    fast: bool = flag(False, "fast", formerly=("--quick",))


@pytest.mark.parametrize(("line", "found"), [
    ("", Words()), ("a", Words("a")), ("--bert-model a", Words("a")),
    ("--sizes 1 2 --quick", Words("minilm", [1, 2], True)),
    ("a --fast --lengths 3", Words("a", [3], True)), ("--bert_model=a --lengths 3", Words("a", [3]))])
def test_words_with_a_default_and_former_spellings(line, found):
    assert parse(Words, line.split(), "a test") == found
    with pytest.raises(UsageError, match="unrecognized arguments: b"):
        parse(Words, ["a", "b"], "a test")


def test_defaults_are_not_shared():
    run().names.append("b")
    assert run().names == ["a"]


def test_help_survives_percent_signs(capsys):
    with pytest.raises(SystemExit) as caught:
        run("--help")
    assert caught.value.code == 0
    assert "100% of the steps" in capsys.readouterr().out
