"""What each graph pass does to one model: rewrites, difference of the outputs, speed, in one interleaved run."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from bertpass.engines.frameworks.mxnet_engine import MXNetEngine
from bertpass.jobs.deployment.measure import Latency, interleaved
from bertpass.model import parameters
from bertpass.model.export import graph_of
from bertpass.model.files import params_file
from bertpass.model.record import Checkpoint
from bertpass.passes import optimize, select

PLAIN = "no pass"
ALL = "all passes"


@dataclass(frozen=True)
class Variant:
    """One set of passes on one model.

    ``latency`` is by shape ("8 x 128": batch x sequence length); ``ratio`` is the plain model's median over this one's
    in the same rounds; ``difference`` the largest absolute difference of an output from the plain model's.
    """

    name: str
    rewrites: int
    difference: float
    latency: dict[str, Latency]
    ratio: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """For result files."""
        return {**asdict(self), "latency": {k: v.to_dict() for k, v in self.latency.items()}}


def _batch(config: Any, batch: int, length: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(7)
    ids = random.integers(0, config.vocab_size, (batch, length), dtype=np.int32)
    return ids, np.zeros_like(ids), np.full(batch, length, np.int32)


def compare(checkpoint: Checkpoint, shapes: Sequence[tuple[int, int]], rounds: int, *, library: str | None = None,
            gpu: int | None = None, dtype: str = "float32") -> tuple[list[Variant], dict[str, MXNetEngine]]:
    """Apply each pass alone and all together, and run them in turn.

    Returns
    -------
    variants, engines
        In the order no pass, each pass, all; the engines by the same names, ready for more.
    """
    device = "cpu" if gpu is None else "gpu"
    inputs = parameters.network_config(checkpoint.config, checkpoint.head).input_names
    sets: dict[str, Any] = {PLAIN: "none"}
    sets.update({info.name: [info.name] for info in select("auto", device)})
    sets[ALL] = "auto"
    engines, rewrites = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "plain"
        symbol, params = graph_of(checkpoint, dtype)
        Path(f"{plain}-symbol.json").write_text(symbol, encoding="utf-8")
        params_file.write(f"{plain}-0000.params", params)
        for number, (name, passes) in enumerate(sets.items()):
            prefix = Path(folder) / f"variant{number}"
            report = optimize(plain, prefix, passes=passes, library=library, device=device)
            rewrites[name] = sum(entry.rewrites for entry in report.passes)
            engines[name] = MXNetEngine.from_files(prefix, inputs, gpu=gpu)
    latency: dict[str, dict[str, Latency]] = {name: {} for name in engines}
    difference = dict.fromkeys(engines, 0.0)
    for batch, length in shapes:
        ids, types, valid = _batch(checkpoint.config, batch, length)
        expected = engines[PLAIN].forward(ids, types, valid)
        for name, engine in engines.items():
            found = engine.forward(ids, types, valid)
            worst = max(float(np.abs(a - b).max()) for a, b in zip(expected, found, strict=True))
            difference[name] = max(difference[name], worst)
        calls = {name: partial(engine.run, engine.arrays(ids, types, valid)) for name, engine in engines.items()}
        for name, timed in interleaved(calls, rounds).items():
            latency[name][f"{batch} x {length}"] = timed
    variants = [Variant(name, rewrites[name], difference[name], latency[name],
                        {shape: round(latency[PLAIN][shape].p50 / timed.p50, 3)
                         for shape, timed in latency[name].items()}) for name in engines]
    return variants, engines


def show(variants: Sequence[Variant], title: str, extra: dict[str, dict[str, str]] | None = None) -> None:
    """Print the table; ``extra`` adds columns: title -> text by variant."""
    table = Table(title=title)
    table.add_column("passes")
    table.add_column("rewrites", justify="right")
    table.add_column("max difference", justify="right")
    for name in extra or {}:
        table.add_column(name, justify="right")
    for shape in variants[0].latency:
        table.add_column(f"{shape}, ms", justify="right")
        table.add_column("ratio", justify="right")
    for variant in variants:
        cells = [variant.name, str(variant.rewrites), f"{variant.difference:.1e}"]
        cells += [column.get(variant.name, "") for column in (extra or {}).values()]
        for shape, timed in variant.latency.items():
            cells += [f"{timed.p50:.1f}", f"{variant.ratio[shape]:.2f}"]
        table.add_row(*cells)
    Console(width=None if Console().is_terminal else 120).print(table)
