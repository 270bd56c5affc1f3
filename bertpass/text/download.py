"""Fetching a task's public data where no --data_dir is given: the official files, checked as archives."""

from __future__ import annotations

import io
import os
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

from bertpass.errors import DownloadError
from bertpass.text.tasks import Task

# Official sources: the GLUE benchmark's archives and the SQuAD explorer's files.
_GLUE = "https://dl.fbaipublicfiles.com/glue/data"
_SQUAD = "https://rajpurkar.github.io/SQuAD-explorer/dataset"
ARCHIVES = {
    "CoLA": f"{_GLUE}/CoLA.zip", "SST": f"{_GLUE}/SST-2.zip", "QQP": f"{_GLUE}/QQP-clean.zip",
    "STS-B": f"{_GLUE}/STS-B.zip", "embedding": f"{_GLUE}/STS-B.zip", "MNLI": f"{_GLUE}/MNLI.zip",
    "QNLI": f"{_GLUE}/QNLIv2.zip", "RTE": f"{_GLUE}/RTE.zip", "WNLI": f"{_GLUE}/WNLI.zip",
}
SQUAD_FILES = ("train-v1.1.json", "dev-v1.1.json", "train-v2.0.json", "dev-v2.0.json")
_MOST_BYTES = 2**30
_SECONDS = 20


def cache_dir() -> Path:
    """Where downloads are kept: $BERTPASS_CACHE, else ~/.cache/bertpass."""
    return Path(os.environ.get("BERTPASS_CACHE", Path.home() / ".cache" / "bertpass")) / "data"


def _fetch(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=_SECONDS) as answer:
        content = answer.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise DownloadError(f"{url} is larger than {_MOST_BYTES >> 30} GiB, which no task's data is.")
    return content


def download(task: Task) -> Path:
    """The folder with ``task``'s data, downloaded once into :func:`cache_dir`.

    Raises
    ------
    DownloadError
        There is no public file for the task, or it cannot be fetched; the text says what to do instead.
    """
    instead = f"put the files into a folder {task.folders[0]}/ and name the folder above it with --data_dir."
    root = cache_dir()
    target = root / task.folders[0]
    if target.is_dir():
        return root
    wanted = [f"{_SQUAD}/{name}" for name in SQUAD_FILES] if task.kind == "qa" else \
        [ARCHIVES[task.name]] if task.name in ARCHIVES else []
    if not wanted:
        raise DownloadError(f"the data of {task.name} is not offered for download by its owners; {instead}")
    part = target.with_name(target.name + ".part")
    part.mkdir(parents=True, exist_ok=True)
    try:
        for url in wanted:
            content = _fetch(url)
            if url.endswith(".json"):
                (part / url.rsplit("/", 1)[1]).write_bytes(content)
                continue
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                for info in archive.infolist():
                    if info.filename.endswith(".tsv"):
                        (part / Path(info.filename).name).write_bytes(archive.read(info))
    except (OSError, urllib.error.URLError, zipfile.BadZipFile) as error:
        raise DownloadError(f"the data of {task.name} cannot be downloaded ({error}); {instead}") from error
    part.rename(target)
    return root
