"""The command line as a newcomer meets it: every command's help, what is missing, spellings, completion."""

import dataclasses
import re
import shutil
import subprocess

import pytest

from bertpass.commands import main as bertpass
from bertpass.commands.flags_page import page, sections
from bertpass.commands.table import ALIASES, FIRST, Group, commands, find
from bertpass.options import flag, parse, parser_for
from tests.helpers import ROOT

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
    """It can be typed as its usage line says, shows every flag with its values, and nothing twice; without the word
    all it leaves out the flags that are rarely needed, and says so."""
    usual = run(capsys, *name.split(), "--help")
    code, out, err = run(capsys, *name.split(), "--help", "all")
    assert (code, err) == (0, "") == (usual[0], usual[2])
    rare = [field.name for field in dataclasses.fields(EVERY[name].options_class()) if field.metadata["rare"]]
    assert not [one for one in rare if re.search(rf"^  --{one}\b", usual[1], re.M)]
    assert (f"bertpass {name} --help all shows them" in " ".join(usual[1].split())) == bool(rare)
    assert out == usual[1] if not rare else len(out) > len(usual[1])
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
    (["new-model", "x"], 2, "FILE is needed"), (["pack", "a"], 2, "OUTPUT is needed"),
    (["batch", "a"], 2, "INPUT and OUTPUT are needed"), (["tune"], 2, "MODELS is"),
    (["load"], 2, "URL is needed"), (["compare", "a"], 2, "SECOND is needed"), (["info"], 2, "MODEL is needed"),
    (["bench", "report"], 2, "RESULTS is needed"), (["bench", "finetuning"], 2, "--data_dir is needed"),
    (["completion"], 2, "SHELL is needed"), (["completion", "tcsh"], 2, "SHELL tcsh: not one of bash, zsh, fish"),
    (["embed", "minilm", "a", "--max_length"], 2, "--max_length: a value has to follow this flag."),
    (["embed", "minilm", "a", "--max_length", "x"], 2, "--max_length x: must be a whole number."),
    (["serve", "minilm", "--queue_timeout", "x"], 2, "--queue_timeout x: must be a number."),
    (["info", "minilm", "--json=1"], 2, "--json=1: this flag takes no value."),
    (["bench", "cpu", "--beside"], 2, "--beside: a value has to follow this flag."),
    (["embed", "minilm", "a", " "], 2, "a TEXT is empty"), (["predict", "minilm", ""], 2, "a TEXT is empty"),
    (["embed", "minilm", "--file", "/dev/null"], 3, "/dev/null has no texts"),
    (["embed", "minilm", "a", "--column", "x"], 2, "--column x: give --file"),
    (["embed", "minilm", "--file", "a.txt", "--column", "x"], 2, "--column x: a.txt has one text per line"),
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


@pytest.mark.parametrize("name", [name for name in EVERY if name != "bench sweep"])
def test_dashes_are_underscores(name):
    """In every flag of every command, and in the spellings of earlier versions."""
    parser = parser_for(EVERY[name].options_class(), "")
    known = [word for word in parser._option_string_actions if word.startswith("--")]
    assert {"--" + field.name for field in dataclasses.fields(EVERY[name].options_class())
            if not field.metadata["positional"]} <= set(known)
    for word in known:
        for other in (word.replace("_", "-").replace("---", "--"), "--" + word[2:].replace("-", "_")):
            assert parser._plain([other, f"{other}=x"]) == parser._plain([word, f"{word}=x"])


#: an earlier spelling of a command line, and what it is now
FORMER = [
    ("bench passes --bert_model minilm", "bench passes minilm"), ("bench cpu --models a b", "bench cpu a b"),
    ("bench scaling --models a", "bench scaling a"), ("bench kernels --models minilm", "bench kernels minilm"),
    ("bench routing --model a", "bench routing a"), ("bench serving --model a", "bench serving a"),
    ("bench gpu --model a", "bench gpu a"),
    ("bench finetuning --bert_model a --data_dir d", "bench finetuning a --data_dir d"),
    ("bench finetuning --data_dir d --max_len 9 --max_seq_length 99",
     "bench finetuning --data_dir d --max_length 9 --max_window 99"),
    ("bench precision --model_parameters a --seq_length 9", "bench precision a --max_length 9"),
    ("tune a --tuning_minutes 2", "tune a --minutes 2"), ("batch i o --model m", "batch m i o"),
    ("export a b.so --sequence_length 9", "export a b.so --max-length 9"),
    ("embed a t --length 9", "embed a t --max_length 9"),
    ("info a --heads 2", "info a --num-heads 2"),
    ("convert --input a --output b", "convert a b"),
    ("new-model --output a --vocab_from b c", "new-model a b c"),
    ("reproduce x --bert_model m", "reproduce x --model m"),
    ("deploy --engine mxnet --dtype int8", "deploy --int8_engine mxnet --dtype int8"),
    ("finetune squad --engine mxnet", "finetune squad --int8-engine mxnet"),
]


@pytest.mark.parametrize(("former", "now"), FORMER)
def test_earlier_spellings_mean_the_same_and_are_not_shown(former, now):
    values = []
    for line in (former, now):
        _, command, words = find(line.split())
        values.append(vars(parser_for(command.options_class(), "").parse_args(words)))
    assert values[0] == values[1]
    shown = parser_for(command.options_class(), "").format_help(everything=True)
    assert not [word for word in set(former.split()) - set(now.replace("-", "_").split()) - set(now.split())
                if word.startswith("--") and re.search(rf"{word}\b", shown)]


def test_one_thing_has_one_name():
    """The longest row, the model and a time limit are called the same in every command of ours."""
    published = {name for name, command in EVERY.items() if command.published} | {"bench sweep"}
    for name in set(EVERY) - published:
        fields = {field.name: field.metadata for field in dataclasses.fields(EVERY[name].options_class())}
        assert not set(fields) & {"max_len", "max_seq_length", "seq_length", "sequence_length", "length", "bert_model",
                                  "model_parameters", "tuning_minutes", "benchmark_duration"}, name
        for one in {"model", "models"} & set(fields):
            named = name in ("load", "plan", "reproduce")  # its name in requests or results; the tables are the words
            assert fields[one]["positional"] or named, name
    engines = {name for name in EVERY for field in dataclasses.fields(EVERY[name].options_class())
               if field.name in ("engine", "engines")}
    assert engines == {"serve", "bench cpu", "bench routing", "bench scaling", "bench sweep"}, "what computes"


@dataclasses.dataclass
class Options:
    model: str = flag("", "model", positional=True, formerly=("--input",))
    texts: list[str] = flag([], "texts", positional=True)
    output: str = flag("", "output", positional=True, formerly=("--output",))
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
    rows = re.findall(r"^\| (`[^|]*) \|.*$", text, re.M)
    spellings = {word for row in rows for word in re.findall(r"`([^`]+)`", row)}
    flags, _, variables = text.partition("\n## Environment variables\n")
    assert len(re.findall(r"^\| `", flags, re.M)) < 400 and len(re.findall(r"^\| `", variables, re.M)) < 30
    for name, command in EVERY.items():
        heading = f"bertpass {name}" + (f" ({command.published})" if command.published else "")
        assert f"\n## {heading}\n" in text and known[heading] is command.options_class()
        for field in dataclasses.fields(command.options_class()):
            shown = field.name.upper() if field.metadata["positional"] else f"--{field.name}"
            shown = f"{field.name}=" if name == "bench sweep" else shown
            section = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
            shared = [text.partition(f"\n## {other}\n")[2].partition("\n## ")[0]
                      for other in re.findall(r"\[([^]]+)\]\(#", section)]
            assert shown in spellings and any(f"`{shown}`" in part for part in (section, *shared)), (name, shown)
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
    """Every type of error has a code of its own and a row in docs/flags.md; all types are in errors.py."""
    from bertpass import errors

    kinds = [v for v in vars(errors).values() if isinstance(v, type) and issubclass(v, errors.BertpassError)]
    codes = [kind.exit_code for kind in kinds]
    assert len(codes) == len(set(codes)) and not {0, 130} & set(codes)
    assert all(f"| {kind.exit_code} | {kind.__name__} |" in page() for kind in kinds)
    known = {kind.__name__ for kind in kinds} | {"RequestFailure"}
    elsewhere = {(file.name, found[1]) for file in (ROOT / "bertpass").rglob("*.py") for found in re.finditer(
        r"^class (\w+)\((.*)\):", file.read_text(encoding="utf-8"), re.M)
        if known & set(re.split(r"\W+", found[2])) and file.name != "errors.py"}
    assert {file for file, _ in elsewhere} == {"failures.py"}, "a request's failure is an answer, all others are here"


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
