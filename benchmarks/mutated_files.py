#!/usr/bin/env python
"""What the readers do with damaged files: every file that bertpass reads, changed at random, COUNT times each.

A changed file must be read, and then the model computes a text, or be refused by one of our errors in one line. A
process of its own reads them, so that a crash, a hang (over 20 seconds per file) or more memory than --memory is a
fault that is counted, with the seed that makes it again. Prints a table; --output writes it as a page.
"""

from __future__ import annotations

import json
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bertpass import machine
from bertpass.commands.run import guarded
from bertpass.errors import BertpassError, UsageError, unknown
from bertpass.options import check_output_folder, flag, parse
from bertpass.progress import Bar

SECONDS = 20
PIECES = [b"", b"null", b"-1", b"0", b"1e999", b"1" * 40, b"[]", b"{}", b'"\\ud800"', b"[" * 3000, b'"', b"\x00",
          b"\xff\xfe", b"true", b"1.5", b"\t", b"\n\n", b"NaN"]
JUNK = [None, -1, 0, 1, 3, 2**31, 2**63, 2**70, 1.5, 1e308, "", "null", "x" * 1000, [], {}, [0], [[]], {"a": 1}, True,
        "cls", "bert", "WordPiece", [["a", 1]]]


@dataclass
class MutationOptions:
    """Flags of benchmarks/mutated_files.py."""

    count: int = flag(10000, "changed files per reader", least=1)
    seed: int = flag(1, "seed of the changes")
    readers: list[str] = flag([], "readers, by the names in the table (default: all)")
    memory: int = flag(2000, "MiB that the reading process may take in all", least=200)
    output: str | None = flag(None, "write the table to this Markdown file")


def changed_bytes(content: bytes, rng: random.Random) -> bytes:
    """One change anywhere, most often near the beginning, where headers are."""
    at = rng.randrange(min(len(content), rng.choice([64, 1024, 10**9]))) if content else 0
    kind = rng.randrange(6)
    if kind == 0:
        return content[:at]
    if kind == 1:
        return content[:at] + bytes([rng.randrange(256)]) + content[at + 1:]
    if kind == 2:
        return content[:at] + rng.choice(PIECES) + content[at + rng.randrange(8):]
    if kind == 3:
        return content[:at] + content[rng.randrange(len(content)) if content else 0:]
    if kind == 4:  # a number of eight bytes: lengths, offsets, counts
        return content[:at] + rng.choice([0, 1, 2**16, 2**31, 2**32 - 1, 2**62, 2**64 - 1]).to_bytes(8, "little") \
            + content[at + 8:]
    return bytes(rng.randrange(256) if rng.random() < 0.002 else byte for byte in content)


def changed_json(content: bytes, rng: random.Random) -> bytes:
    """One to three values replaced, removed, copied or moved to another key."""
    if rng.random() < 0.25:
        return changed_bytes(content, rng)
    document = json.loads(content)
    for _ in range(rng.randrange(1, 4)):
        place: Any = document
        while place:
            key = rng.choice(list(place) if isinstance(place, dict) else range(len(place)))
            if isinstance(place[key], dict | list) and place[key] and rng.random() < 0.8:
                place = place[key]
                continue
            action = rng.randrange(4)
            if action == 0:
                place[key] = rng.choice(JUNK)
            elif action == 1:
                del place[key]
            elif action == 2 and isinstance(place, dict):
                place[rng.choice(list(place))] = place[key]
            elif isinstance(place, list):
                place.append(place[key])
            else:
                place[rng.choice(["type", "vocab", "model_type", "x" * 20, "id2label"])] = place.pop(key)
            break
    return json.dumps(document).encode()


def compute(path: Path) -> None:
    """Load a model and compute a text by it."""
    import bertpass

    with bertpass.load(path, threads=1) as model:
        model.run(model.tokenizer.encode(["the good film of anna ."], max_length=model.max_length))


def compute_with_vocabulary(path: Path) -> None:
    """A .params file whose vocabulary lies beside it."""
    import bertpass

    with bertpass.load(path, dtype="float32", threads=1, vocab=str(path.parent / "tokenizer.json"), num_heads=4,
                       kind="classification") as model:
        model.run(model.tokenizer.encode(["the good film of anna ."], max_length=model.max_length))


def parse_graph(path: Path) -> None:
    """MXNet's JSON of a graph, rewritten by the passes that need no parameters."""
    from bertpass import _core

    text = _core.Graph(path.read_text(encoding="utf-8", errors="replace")).json()
    if _core.Graph(text).json() != text:
        raise AssertionError("the graph that was written reads as another one")


def read_rows(kind: str) -> Callable[[Path], None]:
    """A reader of own data, whose labels are found in it."""
    def read(path: Path) -> None:
        from bertpass.text.data.readers import read_own

        read_own(path, kind)
    return read


def read_squad(path: Path) -> None:
    """Questions and answers."""
    from bertpass.text.squad.data import read_squad as read

    read(path)


def originals(folder: Path) -> dict[str, tuple[Path, Path, Callable[[Path], None]]]:
    """Reader -> the file that is changed, what is opened (it or its folder), and what opens that."""
    from bertpass.model.checkpoint import load_checkpoint
    from bertpass.model.files import params_file
    from bertpass.model.layouts import packed
    from tests.helpers import toy, toy_kinds
    from tests.helpers.pass_models import PARITY, build

    plain = toy.write_encoder(folder / "plain", head="classification", labels=["no", "yes"])
    made = load_checkpoint(plain)
    found: dict[str, tuple[Path, Path, Callable[[Path], None]]] = {
        name: (plain / name, plain, compute)
        for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors")}
    for dtype in ("float32", "int8"):
        path = folder / f"{dtype}.safetensors"
        packed.write(path, made, dtype)
        found[f"bertpass pack, {dtype}"] = (path, path, compute)
    path = folder / "params" / "net.params"
    path.parent.mkdir()
    shutil.copy(plain / "tokenizer.json", path.parent)
    params_file.write(path, made.params)
    found[".params"] = (path, path, compute_with_vocabulary)
    path = folder / "net-symbol.json"
    path.write_text(build(PARITY["tiny"]).symbol, encoding="utf-8")
    found["net-symbol.json"] = (path, path, parse_graph)
    toy.write_data(folder)
    toy_kinds.write(folder)
    for name, kind in (("own.dev.tsv", "classification"), ("own.dev.csv", "classification"),
                       ("several.dev.jsonl", "multilabel"), ("CoNLL-2003/valid.txt", "tokens")):
        found[name] = (folder / name, folder / name, read_rows(kind))
    path = next((folder / "squad").glob("dev*.json"))
    found["SQuAD's JSON"] = (path, path, read_squad)
    return found


def child(name: str, folder: Path, first: int, last: int, memory: int) -> None:
    """Read the changes of seeds [first, last); one line per file on standard output: seed, and what came."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    changed, opened, read = originals_there(folder)[name]
    content = changed.read_bytes()
    change = changed_json if changed.suffix == ".json" else changed_bytes
    read(opened)  # whole; and what it imports is imported
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + memory * 2**20,) * 2)
    for seed in range(first, last):
        changed.write_bytes(change(content, random.Random(f"{name} {seed}")))
        print(seed, end=" ", flush=True)
        signal.alarm(SECONDS)
        try:
            read(opened)
            came = "read"
        except BertpassError as error:
            came = "refused" if str(error) and "\n" not in str(error) else f"in several lines: {str(error)!r}"
        except Exception as error:
            came = f"{type(error).__name__}: {' '.join(str(error).split())[:150]}"
        signal.alarm(0)
        print(came, flush=True)


def originals_there(folder: Path) -> dict[str, tuple[Path, Path, Callable[[Path], None]]]:
    """:func:`originals`, written in a folder that the parent removes."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return originals(folder)


def outcomes(name: str, options: MutationOptions, folder: Path, bar: Bar) -> tuple[int, int, list[str]]:
    """How many changed files of a reader were read, how many refused, and what else came."""
    first, last = options.seed * 1_000_000, options.seed * 1_000_000 + options.count
    read = refused = 0
    faults: list[str] = []
    while first < last:
        with subprocess.Popen([sys.executable, "-W", "ignore", __file__, "--child", name, str(folder), str(first),
                               str(last), str(options.memory)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                              text=True) as process:
            assert process.stdout is not None
            for line in process.stdout:
                seed, _, came = line.strip().partition(" ")
                first = int(seed) + 1
                bar.advance()
                read, refused = read + (came == "read"), refused + (came == "refused")
                if not came:
                    faults.append(f"seed {seed}: the process ended with {process.wait()}")
                elif came not in ("read", "refused"):
                    faults.append(f"seed {seed}: {came}")
        if process.returncode == 0:
            break
        if first == options.seed * 1_000_000:
            raise BertpassError(f"{name}: the reading process ended with {process.returncode} before it read a file.")
    return read, refused, faults


def main(argv: Sequence[str] | None = None) -> int:
    """Change and read; returns the exit code."""
    def job() -> None:
        options = parse(MutationOptions, argv, "Read every kind of file, changed at random.")
        if options.output:
            check_output_folder("output", Path(options.output).parent)
        rows, wrong = [], []
        with tempfile.TemporaryDirectory() as kept:
            folder = Path(kept) / "files"
            names = list(originals_there(folder))
            for name in options.readers:
                if name not in names:
                    raise UsageError(unknown("reader", name, names))
            names = options.readers or names
            with Bar("reading changed files", options.count * len(names), "files") as bar:
                for name in names:
                    begin = time.monotonic()
                    read, refused, faults = outcomes(name, options, folder, bar)
                    rows.append(f"| {name} | {read} | {refused} | {len(faults)} | "
                                f"{(time.monotonic() - begin) / options.count * 1e3:.1f} |")
                    wrong += [f"{name}: {fault}" for fault in faults]
        page = "\n".join(["# Damaged files", "", f"Made by `{machine.command()}`: every file was changed at random, "
                          "and opened as a model", "or as data; a model that was read computed a text.", "",
                          "| file | read | refused in one sentence | anything else | ms per file |",
                          "|---|---|---|---|---|", *rows, ""])
        print(page)
        for fault in wrong[:50]:
            print(fault)
        if options.output:
            Path(options.output).write_text(page, encoding="utf-8")
        if wrong:
            raise BertpassError(f"{len(wrong)} changed files were neither read nor refused.")
    return guarded(job)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], Path(sys.argv[3]), *map(int, sys.argv[4:7]))
    else:
        raise SystemExit(main())
