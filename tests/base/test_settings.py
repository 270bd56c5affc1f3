"""Options from a file, the environment and the command line."""

from dataclasses import dataclass

import pytest

from bertpass.errors import UsageError
from bertpass.options import flag
from bertpass.settings import parse, unknown_variables


@dataclass
class Options:
    models: list[str] = flag([], "models", positional=True)
    config: str | None = flag(None, "file")
    port: int = flag(1, "port", least=1)
    max_wait: float = flag(0.5, "wait", aliases=("--max-wait",))
    level: str = flag("info", "level", choices=("info", "error"))
    names: list[str] = flag(["a"], "names")
    quiet: bool = flag(False, "say less")


@pytest.fixture
def run(tmp_path):
    """Options of words, of a file's text and of variables."""
    def made(*argv, file=None, **environment):
        if file is not None:
            path = tmp_path / "serve.yaml"
            path.write_text(file, encoding="utf-8")
            environment["X_CONFIG"] = str(path)
        return parse(Options, argv, "X_", environment, "serve", "a test")
    return made


def test_the_later_wins(run):
    file = "port: 2\nmax-wait: 3\nquiet: true\nmodels: [a, b]\nnames: x\nlevel: error\n"
    made = run(file=file)
    assert (made.port, made.max_wait, made.quiet, made.models, made.names, made.level) == \
        (2, 3, True, ["a", "b"], ["x"], "error")
    made = run(file=file, X_PORT="4", X_QUIET="0", X_MODELS="c", X_NAMES="p q")
    assert (made.port, made.max_wait, made.quiet, made.models, made.names) == (4, 3, False, ["c"], ["p", "q"])
    made = run("d", "--port", "5", "--no-quiet", file=file, X_PORT="4")
    assert (made.port, made.quiet, made.models, made.level) == (5, False, ["d"], "error")
    assert run("--port", "6", "d").models == ["d"] and run() == Options()
    assert run("--quiet", X_QUIET="0").quiet and run(file="").port == 1


def test_the_command_line_names_the_file(run, tmp_path):
    other = tmp_path / "other.yaml"
    other.write_text("port: 9\n", encoding="utf-8")
    assert run("--config", str(other), file="port: 2").port == 9


@pytest.mark.parametrize(("file", "words"), [
    ("prot: 2", "Did you mean 'port'"), ("config: a", "unknown key 'config'"), ("port: x", "port: 'x' must be a whole"),
    ("port: true", "must be a whole"), ("quiet: 1", "must be true or false"), ("models: [1]", "list of such"),
    ("- port", "a flag a line"), ("port: [", "not YAML"), ("port: 0", "at least 1"), ("level: loud", "not one of"),
    ("level: [info]", "must be a text"),
])
def test_wrong_files_are_sentences(run, file, words):
    with pytest.raises(UsageError, match=r"--(config|port|level)") as caught:
        run(file=file)
    assert words in str(caught.value)


def test_a_missing_file_is_a_sentence(run):
    with pytest.raises(UsageError, match=r"--config /nowhere: No such file"):
        run("--config", "/nowhere")


@pytest.mark.parametrize(("variable", "value", "words"), [
    ("X_PORT", "tcp://10.0.0.1", "must be a whole number"), ("X_QUIET", "perhaps", "write 1 or 0"),
    ("X_MAX_WAIT", "", "must be a number"), ("X_MAX_WAIT", "nan", "finite"),
])
def test_wrong_variables_are_sentences(run, variable, value, words):
    with pytest.raises(UsageError, match=words):
        run(**{variable: value})


def test_unknown_variables_are_told():
    (told,) = unknown_variables(Options, "X_", {"X_PROT": "1", "X_PORT": "1", "PATH": ""})
    assert "X_PROT" in told and "Did you mean 'X_PORT'" in told
