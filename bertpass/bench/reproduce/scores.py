"""Fine-tuning scores of each task, from the result files of the fine-tuning and the precision benchmarks."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from bertpass.bench.reproduce import picture
from bertpass.bench.reproduce.contract import Entry, Kept, Published, Row, Table, ratio
from bertpass.bench.reproduce.session import Session
from bertpass.errors import DataError

COMMAND = "python -m bertpass.bench finetuning --data_dir DATA"


def measure(session: Session) -> None:
    """Takes the runs of the result files over; training itself is ``python -m bertpass.bench finetuning``."""
    runs = [run for file in session.settings.results for run in _runs(Path(file))]
    session.kept["runs"] = runs
    session.keep()


def _runs(file: Path) -> Iterator[dict[str, Any]]:
    """One entry for each run: task, model, seed, settings, metrics of ours and of the control in percent."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        for run in content["runs"]:
            yield {"task": run["task"], "model": run["model"], "seed": run["seed"], "settings": run["settings"],
                   "train_rows": run.get("train_rows", run.get("train_questions")),
                   "dev_rows": run.get("dev_rows", run.get("dev_questions")),
                   **{side: _percent(run[side]["metrics"]) for side in ("ours", "control")}}
    except (OSError, UnicodeDecodeError, ValueError, TypeError, KeyError) as error:
        raise DataError(f"--results {file}: it is no result file of fine-tuning ({error!r}); make one with "
                        f"{COMMAND}.") from error


def _percent(metrics: Mapping[str, Any]) -> dict[str, float]:
    """In percent, as SQuAD's are already."""
    factor = 1 if "exact" in metrics else 100
    return {name: factor * float(value) for name, value in metrics.items() if isinstance(value, (int, float))}


def _mean(runs: Sequence[Mapping[str, Any]], side: str, metric: str) -> float | None:
    found = [run[side][metric] for run in runs if metric in run[side]]
    return fmean(found) if found else None


def tables(published: Published, kept: Kept) -> list[Table]:
    rows: list[Row] = []
    unpublished = [{"task": task, "metric": "accuracy"} for task in published["unpublished"]]
    for result in [*published["results"], *unpublished]:
        runs = [run for run in kept.get("runs", []) if run["task"] == result["task"]]
        ours = _mean(runs, "ours", result["metric"])
        theirs = result.get("base")
        rows.append({"task": result["task"], "metric": result["metric"], "base": theirs, "large": result.get("large"),
                     "int8": result.get("int8"), "ours": ours, "control": _mean(runs, "control", result["metric"]),
                     "ratio": ratio(ours, theirs), "conditions": _conditions(result, runs, ours)})
    return [Table("Development scores, %", {
        "task": "task", "metric": "metric", "base": "published, base", "large": "published, large",
        "int8": "published, base in int8", "ours": "here", "control": "here, PyTorch control",
        "ratio": "here / published base", "conditions": "conditions"}, rows,
        f"“here” are means over the seeds of the result files given with --results (`{COMMAND}` makes them). They "
        "start from the model and take the steps and rows that the conditions name, so they are not the published "
        "models; whether ours trains as it should is what the control says: same start, data and steps.",
        decimals=2)]


def _conditions(result: Mapping[str, Any], runs: Sequence[Mapping[str, Any]], ours: float | None) -> str:
    said = [result["conditions"]] if "conditions" in result else []
    if ours is None:
        said.append(f"no run of it; {COMMAND} --tasks {result['task']}" if not runs else "not measured by that run")
    for about in dict.fromkeys(_about(run) for run in runs):
        said.append(about)
    return "; ".join(said)


def _about(run: Mapping[str, Any]) -> str:
    settings = run["settings"]
    steps = f"{settings['training_steps']} steps" if settings["training_steps"] else f"{settings['epochs']} epochs"
    return f"{run['model']}, {steps} of {settings['batch_size']}, {run['train_rows']} rows, {run['dev_rows']} dev rows"


def draw(path: Path, published: Published, kept: Kept, subtitle: str) -> None:
    groups: dict[str, dict[str, float | None]] = {}
    for result in published["results"]:
        runs = [run for run in kept.get("runs", []) if run["task"] == result["task"]]
        metric = result["metric"]
        groups[f"{result['task']} ({metric})"] = {
            "published, BERT-base": result["base"], "here": _mean(runs, "ours", metric),
            **({"here, PyTorch control": _mean(runs, "control", metric)} if runs else {})}
    picture.bars(path, subtitle, "Development scores; conditions differ, see the table", "%", {"": groups})


ENTRY = Entry(
    "scores", "Fine-tuning scores of each task", f"--results FILE of `{COMMAND}`", 0.1, measure, tables, draw,
    lambda: ["fine-tuning BERT-base on the full training sets (GPU hours)"])
