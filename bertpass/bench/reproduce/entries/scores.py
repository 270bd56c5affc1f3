"""Fine-tuning scores of each task, from the result files of the fine-tuning and the precision benchmarks."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from bertpass.bench.reproduce import picture
from bertpass.bench.reproduce.session import Entry, Session
from bertpass.bench.reproduce.tables import Kept, Published, Row, Table, ratio
from bertpass.errors import DataError

COMMAND = "bertpass bench finetuning --data_dir DATA"
INT8_COMMAND = "bertpass bench precision NET --data_dir DATA"


def measure(session: Session) -> None:
    """Takes over what the result files hold; training and measuring themselves are other commands."""
    session.kept.update(runs=[], precisions=[])
    for file in map(Path, session.settings.results):
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            if "lines" in content:
                session.kept["precisions"].append(_precisions(content))
            else:
                session.kept["runs"] += map(_run, content["runs"])
        except (OSError, UnicodeDecodeError, ValueError, TypeError, KeyError) as error:
            raise DataError(f"--results {file}: it is no result file of fine-tuning or of precisions ({error!r}); make "
                            f"one with {COMMAND} or {INT8_COMMAND} --output FILE.") from error
    session.keep()


def _run(run: Mapping[str, Any]) -> dict[str, Any]:
    """One fine-tuning: task, model, seed, settings, metrics of ours and of the control in percent."""
    return {"task": run["task"], "model": run["model"], "seed": run["seed"], "settings": run["settings"],
            "train_rows": run.get("train_rows", run.get("train_questions")),
            "dev_rows": sum(run["dev_rows"].values()) if "dev_rows" in run else run.get("dev_questions"),
            **{side: _percent(run[side]["metrics"]) for side in ("ours", "control")}}


def _precisions(content: Mapping[str, Any]) -> dict[str, Any]:
    """One fine-tuned model in several precisions: name of a precision -> metrics in percent; "float32" is one."""
    found = {line["name"]: _percent(line["metrics"]) for line in content["lines"]}
    return {"task": content["task"], "rows": content["rows"], "exact": found.pop("float32"), "low": found}


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
        decimals=2), _low_precision(published, kept)]


def _low_precision(published: Published, kept: Kept) -> Table:
    """What int8 costs: the published scores, and every precision of the models that were measured here."""
    rows: list[Row] = []
    for result in published["results"]:
        theirs, task, metric = result.get("int8"), result["task"], result["metric"]
        found = [(about, name, low[metric]) for about in kept.get("precisions", []) if about["task"] == task
                 for name, low in about["low"].items() if metric in low]
        if theirs is None and not found:
            continue
        base = {"task": task, "metric": metric, "base": result["base"], "int8": theirs,
                "drop": result["base"] - theirs if theirs is not None else None}
        rows += [{**base, "precision": name, "exact": about["exact"][metric], "low": low,
                  "here": about["exact"][metric] - low, "conditions": f"{about['rows']} dev rows"}
                 for about, name, low in found]
        if not found:
            rows.append({**base, "conditions": f"no file of it; {INT8_COMMAND} --task {task}"})
    return Table("What low precision costs, %", {
        "task": "task", "metric": "metric", "base": "published, float32", "int8": "published, int8",
        "drop": "published drop", "precision": "precision here", "exact": "here, float32", "low": "here",
        "here": "drop here", "conditions": "conditions"}, rows,
        f"`{INT8_COMMAND}` makes the files; drops in points of a percentage.", decimals=2)


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
    "scores", "Fine-tuning scores of each task",
    "--results FILE of bertpass bench finetuning or precision", 0.1, measure, tables, draw,
    lambda: ["fine-tuning BERT-base on the full training sets (GPU hours)"])
