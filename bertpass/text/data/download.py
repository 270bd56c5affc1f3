"""Getting the public data sets from their publishers into a cache folder; a local ``--data_dir`` needs none of it."""

from __future__ import annotations

import http.client
import shutil
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

from bertpass.base.files import replacing_file
from bertpass.base.paths import cache_folder
from bertpass.errors import DownloadError
from bertpass.text.data.tasks import Task

_GLUE = "https://dl.fbaipublicfiles.com/glue/data"
_SQUAD = "https://rajpurkar.github.io/SQuAD-explorer/dataset"

# Addresses by task, as the GLUE benchmark and the SQuAD explorer publish them. MRPC, AX, XNLI, LCQMC, ChnSentiCorp and
# CoNLL-2003 have no such address: their terms or their layout want a person to get them.
SOURCES: dict[str, tuple[str, ...]] = {
    **{name: (f"{_GLUE}/{file}.zip",) for name, file in (
        ("CoLA", "CoLA"), ("SST", "SST-2"), ("STS-B", "STS-B"), ("embedding", "STS-B"), ("QQP", "QQP-clean"),
        ("MNLI", "MNLI"), ("QNLI", "QNLIv2"), ("RTE", "RTE"), ("WNLI", "WNLI"))},
    **dict.fromkeys(("QA", "SQuAD-rerank"), tuple(f"{_SQUAD}/{split}-v{version}.json" for version in ("1.1", "2.0")
                                                  for split in ("train", "dev"))),
}
_TIMEOUT = 30  # seconds without a byte


def download(task: Task, version_2: bool = False, folder: str | Path | None = None) -> Path:
    """Get a task's files, unless they are in the cache, and return the folder to give as ``data_dir``.

    ``version_2`` chooses SQuAD 2.0 for the task QA.

    Raises
    ------
    DownloadError
        The data set has no public address, or it cannot be got.
    """
    root = Path(folder) if folder is not None else cache_folder() / "data"
    target = root / task.folders[0]
    if task.name not in SOURCES:
        names = " and ".join(dict.fromkeys(group[0] for groups in task.files.values() for group in groups))
        raise DownloadError(f"{task.name} has no public address to download from; get it and name its folder with "
                            f"--data_dir (expected there: {task.folders[0]}/ with {names}).")
    version = "2.0" if version_2 else "1.1"
    for url in SOURCES[task.name]:
        name = url.rsplit("/", 1)[1]
        if not name.endswith(".zip"):
            if f"v{version}" in name and not (target / name).is_file():
                _get(url, target / name)
        elif not (target / "train.tsv").is_file():
            archive = target / name
            _get(url, archive)
            _unpack(archive, target, {n for groups in task.files.values() for group in groups for n in group})
            archive.unlink()
    return root


def _get(url: str, path: Path) -> None:
    """Fetch a file; what is at ``path`` is always whole."""
    try:
        with replacing_file(path) as out, urllib.request.urlopen(url, timeout=_TIMEOUT) as response:
            shutil.copyfileobj(response, out)
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise DownloadError(f"{url} cannot be downloaded ({reason}); get the file where there is a network and name "
                            "its folder with --data_dir.") from error


def _unpack(archive: Path, target: Path, wanted: set[str]) -> None:
    """Write the wanted members of a zip into ``target`` by their last name; train.tsv comes last and means whole."""
    try:
        with zipfile.ZipFile(archive) as content:
            members = {Path(m).name: m for m in content.namelist() if Path(m).name in wanted and "original" not in m}
            for name in sorted(members, key=lambda n: n == "train.tsv"):
                with content.open(members[name]) as source, replacing_file(target / name) as out:
                    shutil.copyfileobj(source, out)
    except zipfile.BadZipFile as error:
        archive.unlink(missing_ok=True)
        raise DownloadError(f"what came as {archive.name} is no zip file ({error}); try again.") from error
    if not (target / "train.tsv").is_file():
        raise DownloadError(f"{archive.name} holds no train.tsv; the publisher has changed it: get the files and name "
                            "their folder with --data_dir.")
