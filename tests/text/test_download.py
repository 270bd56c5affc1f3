"""Downloads: from a local stand-in of the publishers' hosts; without a network one sentence."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from bertpass.errors import DownloadError
from bertpass.text.data import download as module
from bertpass.text.data.tasks import TASKS, find_split, get_task


@pytest.fixture()
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands for the hosts: every task's addresses lead into it."""
    folder = tmp_path / "host"
    folder.mkdir()
    moved = {task: tuple(f"{folder.as_uri()}/{url.rsplit('/', 1)[1]}" for url in urls)
             for task, urls in module.SOURCES.items()}
    monkeypatch.setattr(module, "SOURCES", moved)
    monkeypatch.setenv("BERTPASS_CACHE", str(tmp_path / "cache"))
    return folder


def zip_of(path: Path, members: dict[str, str]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def test_zip_goes_into_the_tasks_folder(host: Path, tmp_path: Path) -> None:
    zip_of(host / "SST-2.zip", {"SST-2/train.tsv": "new", "SST-2/original/train.tsv": "old", "SST-2/dev.tsv": "d",
                                "../../evil.tsv": "x", "SST-2/notes.txt": "n"})
    task = get_task("SST")
    root = module.download(task)
    assert root == tmp_path / "cache" / "data"
    assert find_split(task, root, "train")[0].read_text() == "new"
    assert sorted(p.name for p in (root / "SST-2").iterdir()) == ["dev.tsv", "train.tsv"]
    (host / "SST-2.zip").unlink()
    assert module.download(task) == root  # the second time without the host


def test_squad_by_version(host: Path) -> None:
    for name in ("train-v1.1", "dev-v1.1", "train-v2.0", "dev-v2.0"):
        (host / f"{name}.json").write_text("{}")
    task = get_task("QA")
    root = module.download(task)
    assert sorted(p.name for p in (root / "SQuAD").iterdir()) == ["dev-v1.1.json", "train-v1.1.json"]
    assert find_split(task, module.download(task, version_2=True), "dev_v2")[0].name == "dev-v2.0.json"


def test_faults(host: Path, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"cannot be downloaded .*--data_dir"):
        module.download(get_task("CoLA"))
    assert not list((tmp_path / "cache" / "data" / "CoLA").iterdir())
    (host / "RTE.zip").write_text("<html>not here</html>")
    with pytest.raises(DownloadError, match="is no zip file"):
        module.download(get_task("RTE"))
    zip_of(host / "WNLI.zip", {"WNLI/dev.tsv": "d"})
    with pytest.raises(DownloadError, match=r"holds no train\.tsv"):
        module.download(get_task("WNLI"))
    with pytest.raises(DownloadError, match="LCQMC has no public address"):
        module.download(get_task("LCQMC"))


def test_every_address_is_of_a_task() -> None:
    assert set(module.SOURCES) <= set(TASKS)
    assert all(url.startswith("https://") for urls in module.SOURCES.values() for url in urls)
