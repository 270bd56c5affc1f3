"""Files that appear whole or not at all, and what is no file."""

import json
import os
import resource
import signal
import subprocess
import sys
from contextlib import contextmanager

import pytest

from bertpass.base.files import replacing_file, replacing_files, write_json


@contextmanager
def small_disk(limit):
    """Writing fails past ``limit`` bytes of a file, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


def test_a_full_disk_leaves_the_old_file(tmp_path):
    path = tmp_path / "new folder" / "result.json"
    write_json(path, {"name": "é"})
    assert path.read_bytes() == '{\n "name": "é"\n}\n'.encode()
    with small_disk(64), pytest.raises(OSError, match="too large"):
        write_json(path, {"name": "x" * 100_000})
    assert json.loads(path.read_text(encoding="utf-8")) == {"name": "é"}
    assert [file.name for file in path.parent.iterdir()] == ["result.json"]


def test_an_error_leaves_no_file(tmp_path):
    with pytest.raises(ZeroDivisionError), replacing_file(tmp_path / "file") as file:
        file.write(b"half")
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())


def test_a_link_keeps_pointing_and_a_folder_is_refused(tmp_path):
    (tmp_path / "link.json").symlink_to(tmp_path / "file.json")
    write_json(tmp_path / "link.json", [1])
    assert (tmp_path / "link.json").is_symlink() and json.loads((tmp_path / "file.json").read_text()) == [1]
    with pytest.raises(OSError, match="no plain file"):
        write_json(tmp_path, [1])


def test_rights_are_those_of_any_new_file(tmp_path):
    mask = os.umask(0o027)
    try:
        write_json(tmp_path / "file.json", [1])
    finally:
        os.umask(mask)
    assert (tmp_path / "file.json").stat().st_mode & 0o777 == 0o640


def test_what_is_no_text_on_a_command_line_stays_json(tmp_path):
    write_json(tmp_path / "file.json", {"command": "deploy \udcff"})
    assert json.loads((tmp_path / "file.json").read_text(encoding="utf-8")) == {"command": "deploy \udcff"}


def test_standard_output_is_written_to_and_not_replaced(tmp_path):
    script = "from bertpass.base.files import write_json\nprint('before', flush=True)\nwrite_json('/dev/stdout', [1])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "before\n[\n 1\n]\n"


def test_several_files_come_together_or_not_at_all(tmp_path, monkeypatch):
    old = {"a.json": "old a", "c.json": "old c"}
    for name, text in old.items():
        (tmp_path / name).write_text(text)

    def write(fails):
        with replacing_files(tmp_path) as folder:
            for name in ("a.json", "b.json", "c.json"):
                (folder / name).write_text("new")
            if fails:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(fails=True)
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == old
    replace = os.replace
    for count in range(6):  # of each of three files: the old one aside, the new one into its place
        left = iter(range(count))

        def failing(source, target, left=left):
            if next(left, None) is None:
                monkeypatch.setattr(os, "replace", replace)  # what is put back may be moved
                raise OSError(28, "No space left on device")
            replace(source, target)

        monkeypatch.setattr(os, "replace", failing)
        with pytest.raises(OSError, match="No space"):
            write(fails=False)
        assert {file.name: file.read_text() for file in tmp_path.iterdir()} == old, count
    monkeypatch.setattr(os, "replace", replace)
    write(fails=False)
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == dict.fromkeys(
        ("a.json", "b.json", "c.json"), "new")
