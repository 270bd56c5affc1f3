"""The command line as a newcomer meets it: every command's help, what is missing, spellings, completion."""

import dataclasses
import re
import shutil
import subprocess

import pytest

from bertpass.commands import main as bertpass
from bertpass.commands.flags_page import page, sections
from bertpass.commands.table import ALIASES, FIRST, Group, commands, find
from bertpass.options import flag, parse

EVERY = dict(commands())
GROUPS = {name: one for name, one in FIRST.items() if isinstance(one, Group)}


def run(capsys, *words):
    """(exit code, standard output, standard error) of a command line."""
    try:
        code = bertpass.main(list(words))
    except SystemExit as end:
        code = end.code or 0
    told = capsys.readouterr()
    return code, told.out, told.err


@pytest.mark.parametrize("name", EVERY)
def test_help(name, capsys):
    """It can be typed as its usage line says, shows every flag with its values, and nothing twice."""
    code, out, err = run(capsys, *name.split(), "--help")
    assert (code, err) == (0, "")
    first = out.splitlines()[0]
    assert first.startswith(f"usage: bertpass {name}")
    plain = " ".join(out.split())
    for field in dataclasses.fields(EVERY[name].options_class()):
        meta = field.metadata
        shown = meta["argparse"].get("metavar") or field.name.upper() if meta["positional"] else f"--{field.name}"
        shown = f"{field.name}=" if name == "bench sweep" else shown
        assert shown in plain
        for value in meta["choices"] or ():
            assert re.search(rf"(?<![\w-]){re.escape(value)}(?![\w-])", plain), f"{shown} does not show {value}"
        if meta["positional"] or meta["required"]:
            assert shown in out.split("\n\n")[0], "the usage line has what has to be given"
        assert not re.match(r"(of|for|after|in|their|that|which|who)\b", meta["help"]), f"half a sentence: {shown}"
    headings = re.findall(r"^(\w[\w ]*):$", out, re.M)
    assert len(headings) == len(set(headings))
    assert name == "bench sweep" or ("--help" in out and "--quiet" in out and "--verbose" in out)


@pytest.mark.parametrize("words", [("help", "convert"), ("--help", "convert"), ("-h", "convert"), ("convert", "-h")])
def test_help_of_a_command(words, capsys):
    assert run(capsys, *words)[1] == run(capsys, "convert", "--help")[1]


def test_help_says_where_to_start(capsys):
    _, out, _ = run(capsys)
    assert out == run(capsys, "help")[1] == run(capsys, "--help")[1]
    start = out.index("start here:")
    assert start < out.index("  embed") < out.index("  serve") < out.index("make a model:")
    assert all(f"  {name} " in out and one.what in out for name, one in FIRST.items())
    assert "--version" in out


@pytest.mark.parametrize("group", GROUPS)
def test_help_of_a_group(group, capsys):
    """It lists the words with what each does; the help of bertpass names them."""
    told = [run(capsys, *words) for words in ([group], [group, "--help"], [group, "help"], ["help", group])]
    assert told == [told[0]] * 4 and told[0][0] == 0 and not told[0][2]
    out = told[0][1]
    assert out.startswith(f"usage: bertpass {group} WORD")
    assert all(f"\n  {word} " in out and command.what in out for word, command in GROUPS[group].words.items())
    assert f"{GROUPS[group].what}: {', '.join(GROUPS[group].words)}\n" in run(capsys)[1]
    for word in GROUPS[group].words:
        assert run(capsys, "help", group, word) == run(capsys, group, word, "--help") == run(
            capsys, group, "help", word)


@pytest.mark.parametrize(("name", "whole"), ALIASES.items())
def test_other_spellings_are_the_same_command(name, whole, capsys):
    for spelling in (name, name.replace("-", "_")):
        assert find([spelling, "--lr", "1"]) == find([*whole.split(), "--lr", "1"])
    assert name not in run(capsys)[1], "the help leaves it out"


@pytest.mark.parametrize("word", ["-V", "--version", "version"])
def test_version(word, capsys):
    assert run(capsys, word) == (0, "0.1.0\n", "")


@pytest.mark.parametrize(("words", "code", "told"), [
    (["--verson"], 2, "Did you mean '--version'"), (["serv"], 2, "Did you mean 'serve'"),
    (["help", "serv"], 2, "Did you mean 'serve'"), (["--quiet"], 2, "bertpass --help lists the commands"),
    (["bench", "foo"], 2, "unknown word of bertpass bench 'foo'"), (["bench", "scalling"], 2, "Did you mean 'scaling'"),
    (["finetune", "squat"], 2, "Did you mean 'squad'"), (["finetune", "--lr", "1"], 2, "one of classifier, squad"),
    (["bench", "--shapes", "1x8"], 2, "a word has to stand before the flags; one of cpu, "),
    (["finetune-squat"], 2, "Did you mean 'finetune-squad'"), (["finetune", "squad=1"], 2, "unknown word"),
    (["bench", "help", "foo"], 0, ""), (["convert", "a", "b", "c"], 2, "unrecognized arguments: c."),
    (["convert"], 2, "MODEL and OUTPUT are needed: bertpass convert MODEL OUTPUT [flags]."),
    (["convert", "a"], 2, "OUTPUT is needed"), (["plan"], 2, "RESULTS and --slo_ms are needed"),
    (["new-model", "x"], 2, "--vocab_from is needed"), (["export"], 2, "MODEL and OUTPUT are needed"),
    (["pack", "a"], 2, "OUTPUT is needed"), (["batch"], 2, "INPUT and OUTPUT are needed"), (["tune"], 2, "MODELS is"),
    (["load"], 2, "URL is needed"), (["compare", "a"], 2, "SECOND is needed"), (["info"], 2, "MODEL is needed"),
    (["bench", "report"], 2, "RESULTS is needed"), (["bench", "finetuning"], 2, "--data_dir is needed"),
    (["completion"], 2, "SHELL is needed"), (["completion", "tcsh"], 2, "SHELL tcsh: not one of bash, zsh, fish"),
    (["embed", "minilm"], 2, "give either texts"), (["embed", "minilm", "a", "--file", "x"], 2, "give either texts"),
    (["embed", "minilm", "a", "--output", "x.csv"], 2, "ends in .npy or .jsonl"),
    (["convert", "minilm", "x", "--alow-pickle"], 2, "Did you mean '--allow_pickle'"),
    *((["serve", "minilm", flag, "2"], 2, f"unrecognized arguments: {flag}. --help lists the flags")  # and no guess
      for flag in ("--workers", "--served-model-name", "--pooling", "--model-id", "--hf-token", "--revision")),
    (["serve", "minilm", "--hosts", "2"], 2, "Did you mean '--host'"),
    (["serve", "minilm", "--quue-timeout", "2"], 2, "Did you mean '--queue_timeout'"),
])
def test_mistakes_are_one_sentence(words, code, told, capsys):
    found, _, err = run(capsys, *words)
    assert found == code
    assert told in err and len(err.splitlines()) <= 1


@pytest.mark.parametrize("spelling", ["--allow-pickle", "--allow_pickle"])
@pytest.mark.parametrize("name", [name for name in EVERY if any(
    field.name == "allow_pickle" for field in dataclasses.fields(EVERY[name].options_class()))])
def test_dashes_are_underscores(name, spelling, capsys):
    """The flag is taken: only what else is missing or wrong is told."""
    err = run(capsys, *name.split(), "/nowhere/model", "/nowhere/x/y.safetensors", spelling, "--nothing")[2]
    assert "unrecognized arguments: --nothing" in err


@dataclasses.dataclass
class Options:
    model: str = flag("", "model", positional=True, aliases=("--input",))
    texts: list[str] = flag([], "texts", positional=True)
    output: str = flag("", "output", positional=True, aliases=("--output",))
    max_rows: int = flag(1, "rows", required=True)
    names: list[str] = flag([], "names")
    fast_path: bool = flag(False, "fast", rare=True)


@pytest.mark.parametrize("argv", [
    "m t u o --max_rows 3 --fast-path", "--max-rows 3 m t u o --fast_path", "m --max-rows=3 t --fast-path u o",
    "--input m t u --output o --fast-path --max_rows 3", "--input=m --max_rows 3 t u --fast_path o",
    "--max_rows 3 --fast-path -- m t u o",
])
def test_words_may_stand_anywhere(argv):
    assert parse(Options, argv.split(), "a test") == Options("m", ["t", "u"], "o", 3, [], True)


def test_words_after_two_dashes_are_never_flags():
    assert parse(Options, ["--max_rows", "3", "--", "m", "--names", "o"], "a test").texts == ["--names"]


def test_nothing_is_overwritten_without_a_word(tmp_path, capsys):
    (tmp_path / "text").write_text("some words and more words\n")
    words = ["new-model", str(tmp_path / "new"), "--vocab-from", str(tmp_path / "text"), "--layers", "1"]
    assert run(capsys, *words)[0] == 0
    kept = (tmp_path / "new" / "config.json").read_bytes()
    model = str(tmp_path / "new")
    for again in (words, ["convert", model, model], ["convert", "--input", model, "--output", model]):
        code, _, err = run(capsys, *again)
        assert code == 2 and "config.json is there already" in err and "--overwrite" in err
    (tmp_path / "a.safetensors").write_bytes(b"mine")
    for other in (["pack", model, str(tmp_path / "a.safetensors")], ["export", model, str(tmp_path / "a.onnx")],
                  ["optimize", "x", str(tmp_path / "b")], ["embed", model, "t", "--output", str(tmp_path / "a.npy")]):
        for name in ("a.onnx", "b-symbol.json", "a.npy"):
            (tmp_path / name).write_bytes(b"mine")
        code, _, err = run(capsys, *other)
        assert code == 2 and "is there already" in err
    assert (tmp_path / "a.safetensors").read_bytes() == b"mine"
    assert (tmp_path / "new" / "config.json").read_bytes() == kept
    assert run(capsys, *words, "--overwrite", "--units", "64")[0] == 0
    assert (tmp_path / "new" / "config.json").read_bytes() != kept


def test_quiet_and_verbose(tmp_path, capsys):
    (tmp_path / "text").write_text("some words and more words\n")
    words = ["new-model", str(tmp_path / "new"), "--vocab_from", str(tmp_path / "text"), "--layers", "1", "--overwrite"]
    assert "note: the weights are random" in run(capsys, *words)[2]
    assert run(capsys, *words, "--quiet")[2] == ""
    assert "Traceback" in run(capsys, "info", "/nowhere", "--verbose")[2]
    assert "Traceback" not in run(capsys, "info", "/nowhere")[2], "verbose was for one command"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell, capsys, tmp_path):
    """Every command and flag is in the script, and the shell, where it is here, reads it."""
    code, out, _ = run(capsys, "completion", shell)
    assert code == 0
    for name, command in EVERY.items():
        assert name.split()[-1] in out
        for field in dataclasses.fields(command.options_class()):
            if not field.metadata["positional"]:
                words = f"{field.name}=" if name == "bench sweep" else f"--{field.name}"
                assert (words.replace("--", "-l ") if shell == "fish" else words) in out
    if shutil.which(shell):
        (tmp_path / "script").write_text(out)
        done = subprocess.run([shell, "-n", str(tmp_path / "script")], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("line", "found"), [
    ("bertpass ser", ["serve"]), ("bertpass convert --form", ["--format"]),
    ("bertpass convert a b --format ", ["huggingface", "gluonnlp", "bundle"]), ("bertpass bench sca", ["scaling"]),
    ("bertpass bench cpu --roun", ["--rounds"]), ("bertpass completion f", ["fish"]),
])
def test_completion_in_bash(line, found, capsys):
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("there is no bash on this machine; install it")
    script = run(capsys, "completion", "bash")[1]
    words = line.split(" ")
    code = (f"{script}\nCOMP_WORDS=({' '.join(repr(word) for word in words)}); COMP_CWORD={len(words) - 1}; _bertpass\n"
            'printf "%s\\n" "${COMPREPLY[@]}"')
    done = subprocess.run([bash, "--norc", "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.split() == found, done.stderr


def test_every_command_has_a_section_of_flags():
    """docs/flags.md is made from the table that runs the commands."""
    text, known = page(), sections()
    for name, command in EVERY.items():
        heading = f"bertpass {name}" + (f" ({command.published})" if command.published else "")
        assert f"\n## {heading}\n" in text and known[heading] is command.options_class()
    for anchor in re.findall(r"\]\(#([^)]+)\)", text):
        headings = [re.sub(r"[^\w-]", "", h.lower().replace(" ", "-")) for h in re.findall(r"^## (.+)$", text, re.M)]
        assert anchor in headings
    assert set(ALIASES.values()) <= set(EVERY)


def test_a_short_load_has_a_short_warm_up():
    from bertpass.commands.production.load import LoadOptions

    words = ["http://127.0.0.1:1", "--seconds"]
    assert [parse(LoadOptions, [*words, seconds], "").warmup for seconds in ("0.4", "4", "40")] == [0.1, 1, 1]
    assert parse(LoadOptions, [*words, "4", "--warmup", "0"], "").warmup == 0


def test_every_exit_code_is_one_cause():
    """A type of error has a row in docs/flags.md, and shares its code only with the type that it is a kind of."""
    from bertpass import errors

    kinds = [v for v in vars(errors).values() if isinstance(v, type) and issubclass(v, errors.BertpassError)]
    text = page()
    for kind in kinds:
        assert f"| {kind.exit_code} | {kind.__name__} |" in text
        for other in kinds:
            assert kind.exit_code != other.exit_code or issubclass(kind, other) or issubclass(other, kind)


def test_fine_tuning_says_what_it_replaces(tmp_path, monkeypatch, capsys):
    from bertpass.commands.make import finetune
    from bertpass.jobs.training import classify

    monkeypatch.setattr(classify, "run", lambda options: {"metrics": {}})
    words = ["--task_name", "SST", "--output_dir", str(tmp_path)]
    assert finetune.classifier(words) == 0 and capsys.readouterr().err == ""
    (tmp_path / "net.params").touch()
    assert finetune.classifier([*words, "--resume"]) == 0 and capsys.readouterr().err == ""
    assert finetune.classifier(words) == 0
    assert "net.params is of an earlier run and is going to be replaced" in capsys.readouterr().err
