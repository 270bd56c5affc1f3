"""Deployment: export, apply the passes, run the validation set, report speed and metric."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bertpass import machine
from bertpass.base.files import write_json
from bertpass.jobs.deployment.options import DeployOptions
from bertpass.jobs.deployment.plan import Plan, plan

if TYPE_CHECKING:
    from bertpass.jobs.deployment.steps import Pair


def run(options: DeployOptions) -> dict[str, Any]:
    """Everything that deploy.py does; returns what result.json holds.

    Raises
    ------
    BertpassError
        Of the kind that fits the fault; flags, library, data and device are checked before the export.
    """
    made = plan(options)
    from bertpass.jobs.deployment import steps  # starts MXNet, for which the plan sets variables

    if made.request is not None:
        return answered(made, steps.export(made))
    data = steps.data(made)
    pair = steps.export(made, data)
    if made.only_calibration:
        return _written(pair, calibrated(made, pair))
    measured = steps.measure(pair, data, made.compare)
    result = steps.result(made, pair, data, measured)
    if made.predictions:
        data.load.write(pair.prefix.parent, measured.outputs["passes"])
    return _written(pair, result)


def calibrated(made: Plan, pair: Pair) -> dict[str, Any]:
    """What --only_calibration tells: where the pair is."""
    return {"task": made.task.name if made.task else None, "model": made.found.model.source,
            "exported": str(pair.prefix), "settings": {"passes": pair.report}, "command": machine.command()}


def answered(made: Plan, pair: Pair) -> dict[str, Any]:
    """What the deployed pair says to the request: one question, one text or many lines of them."""
    from bertpass.engines.model import Model

    assert made.request is not None
    bundle, texts, how = pair.bundle, list(made.request.texts), made.rows.answers
    model = Model(pair.engine(), bundle.config, bundle.head, bundle.tokenizer(), bundle.labels or (), made.rows.length,
                  getattr(bundle, "sentence", None))  # an exported pair says nothing about it
    if made.request.question is not None:
        found = model.answer(made.request.question, texts[0], max_answer_length=how.max_answer_length,
                             doc_stride=how.doc_stride, version_2=how.version_2,
                             null_score_diff_threshold=how.null_score_diff_threshold)
        return {"question": made.request.question, "answer": found.text, "score": found.score,
                "start": found.start, "end": found.end}
    if model.head.kind == "tokens":
        return {"tagged": [{"text": t, "entities": [vars(e) for e in tagged]}
                           for t, tagged in zip(texts, model.tag(texts), strict=True)]}
    if model.head.has_classifier:
        pairs = None if made.request.text_pair is None else [made.request.text_pair] * len(texts)
        return {"predictions": [{"text": t, "label": p.label, "score": p.score, "scores": p.scores}
                                for t, p in zip(texts, model.predict(texts, pairs), strict=True)]}
    return {"embeddings": [{"text": t, "embedding": [float(f"{v:.9g}") for v in e]}
                           for t, e in zip(texts, model.encode(texts), strict=True)]}


def _written(pair: Pair, result: dict[str, Any]) -> dict[str, Any]:
    """The result, once it is in result.json beside the deployed pair."""
    write_json(pair.prefix.parent / "result.json", result)
    return result
