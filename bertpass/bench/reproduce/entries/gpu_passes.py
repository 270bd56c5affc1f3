"""The published optimisations on a GPU in FP16, each alone and all together: for T4-class machines."""

from __future__ import annotations

from pathlib import Path

from bertpass import machine
from bertpass.bench.reproduce import grid, picture
from bertpass.bench.reproduce.session import Entry, Session
from bertpass.bench.reproduce.tables import NEEDS_GPU, Kept, Published, Row, Table, ratio
from bertpass.bench.variants import REFERENCE, Variant
from bertpass.errors import DeviceError

BATCHES, QUICK = (1, 4, 8, 16, 32, 64, 128), (1, 4)
PLAIN, ALL = "plain FP16", "all together"
SAFE, TRUE = {"MXNET_SAFE_ACCUMULATION": "1"}, {"MXNET_FC_TRUE_FP16": "1"}  # the recipe sets both


def variants(gpu: int | None = 0, dtype: str = "float16") -> list[Variant]:
    """MXNet in float32, which the others are checked against, then FP16 without and with the optimisations."""
    def half(name: str, passes: str, environment: dict[str, str]) -> Variant:
        return Variant(name, "mxnet", dtype, {"passes": passes, "gpu": gpu, "dtype": dtype}, ours=passes != "none",
                       environment=environment)

    return [Variant(REFERENCE, "mxnet", "float32", {"passes": "none", "gpu": gpu}), half(PLAIN, "none", SAFE),
            half("interleave_qkv", "interleave_qkv", SAFE), half("bias_gelu", "bias_gelu", SAFE),
            half("true FP16", "none", {**SAFE, **TRUE}), half(ALL, "interleave_qkv,bias_gelu", {**SAFE, **TRUE})]


def check() -> None:
    """DeviceError where no GPU can be."""
    if not machine.has_nvidia_driver():
        raise DeviceError("gpu_passes: there is no NVIDIA driver here (libcuda.so.1); run it on a machine with a GPU "
                          "that MXNet knows, such as a T4, where pip install '.[cu117]' was run.")


def measure(session: Session) -> None:
    batches = QUICK if session.settings.quick else BATCHES
    shapes = [f"{batch}x{session.published['length']}" for batch in batches]
    grid.measure(session, "grid", session.settings.bert_model, variants(), shapes)


def _speedup(kept: Kept, batch: int, length: int, name: str) -> float | None:
    shape = f"{batch}x{length}"
    return ratio(grid.median(kept, "grid", shape, PLAIN), grid.median(kept, "grid", shape, name))


def tables(published: Published, kept: Kept) -> list[Table]:
    length = published["length"]
    columns = {f"batch {batch}": f"here, batch {batch}" for batch in BATCHES}
    rows: list[Row] = []
    overall = {"name": ALL, "where": "", "here": ALL, "published": f"up to {published['overall']:g}x"}
    for one in [*published["optimisations"], overall]:
        ours = one.get("here")
        rows.append({"name": one["name"], "where": one["where"], "ours": ours or "in every line",
                     "published": one.get("published", "drawn only"),
                     **{f"batch {b}": _speedup(kept, b, length, ours) if ours else None for b in BATCHES}})
    speedups = Table("FP16: the time without optimisations over that with them", {
        "name": "optimisation", "where": "published as part of", "ours": "line here", "published": "published (T4)",
        **columns}, rows, published["note"] + f" Full rows of {length} tokens. One pass prearranges the weights and "
        "interleaves them, so the two have one line here.")
    times = Table("Milliseconds", {"name": "line", **columns}, [
        {"name": grid.label(v.name) + (" FP32" if v.name == REFERENCE else ""),
         **{f"batch {b}": grid.median(kept, "grid", f"{b}x{length}", v.name) for b in BATCHES}} for v in variants()])
    return [speedups, times]


def draw(path: Path, published: Published, kept: Kept, subtitle: str) -> None:
    length = published["length"]
    names = [v.name for v in variants() if v.name not in (REFERENCE, PLAIN)]
    groups = {name: {f"batch {batch}": _speedup(kept, batch, length, name) for batch in BATCHES} for name in names}
    picture.bars(path, subtitle, "Speed-up of each optimisation on this GPU, FP16",
                 "time of plain FP16 over that with it", {"": groups}, unit="x", line=1.0)


ENTRY = Entry(
    "gpu_passes", "Speed-up of each optimisation in FP16", "a GPU build of MXNet and its GPU", 8, measure, tables, draw,
    lambda: [] if machine.has_nvidia_driver() else [f"all of it ({NEEDS_GPU})"], device=check)
