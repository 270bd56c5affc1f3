"""bertpass predict: what a fine-tuned model says about texts, one JSON object per text."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bertpass.commands.run import guarded
from bertpass.commands.start.one_model import ComputeOptions, given_texts
from bertpass.errors import UsageError
from bertpass.options import flag, parse
from bertpass.progress import Bar, start_logging

if TYPE_CHECKING:
    from bertpass.engines.model import Model

PART = 256  # texts between two moves of the bar
EPILOG = """examples:
  bertpass predict output_dir/bundle "a gripping, beautifully acted film"
  bertpass predict FOLDER --file tickets.csv --column message
  bertpass predict FOLDER "who wrote it?" --context "The book was written by Ada Byron."    # question answering
  bertpass predict FOLDER "who wrote it?" --pair "Ada Byron wrote the book."                # pairs, re-ranking"""


@dataclass
class PredictOptions(ComputeOptions):
    """Words and flags of bertpass predict."""

    texts: list[str] = flag([], "texts to classify or tag, or questions to answer", positional=True, metavar="TEXT")
    pair: str | None = flag(None, "second text of every pair, for a model of pairs", metavar="TEXT")
    context: str | None = flag(None, "text that holds the answers, for a question-answering model", metavar="TEXT")
    threshold: float = flag(0.5, "probability from which a multi-label model gives a label", least=0, most=1,
                            rare=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    def job() -> None:
        options = parse(PredictOptions, argv, "Labels, values, entities or answers for texts, as JSON lines, computed "
                        "by the native engine.", EPILOG)
        texts = given_texts(options, options.texts)
        start_logging()
        model = options.load()
        kind = model.head.kind
        if not model.head.has_classifier and kind not in ("qa", "tokens"):
            raise UsageError(f"{options.model} gives vectors and no labels (its head is '{kind}'); use: bertpass embed "
                             f"{options.model} TEXT.")
        if kind == "qa" and options.context is None:
            raise UsageError("this model answers questions: give --context, the text that holds the answers.")
        for name, kinds in (("context", ("qa",)), ("pair", ())):
            if getattr(options, name) is not None and (kind not in kinds if kinds else not model.head.has_classifier):
                raise UsageError(f"--{name} is not for this model: its head is '{kind}'.")
        with Bar("predicting", len(texts), "texts", silent=len(texts) <= PART) as bar:
            for start in range(0, len(texts), PART):
                part = texts[start:start + PART]
                for text, found in zip(part, _results(model, part, options), strict=True):
                    print(json.dumps({"text": text, **found}, ensure_ascii=False))
                bar.advance(len(part))
    return guarded(job)


def _results(model: Model, texts: Sequence[str], options: PredictOptions) -> list[dict[str, Any]]:
    """One JSON-ready object per text; which keys depends on the head."""
    if model.head.kind == "qa":
        answers = [dataclasses.asdict(model.answer(text, options.context or "")) for text in texts]
        return [{"answer": found.pop("text"), **found} for found in answers]
    if model.head.kind == "tokens":
        return [{"entities": [dataclasses.asdict(entity) for entity in found]}
                for found in model.tag(texts, batch_size=options.batch_size)]
    pairs = None if options.pair is None else [options.pair] * len(texts)
    found = model.predict(texts, pairs, batch_size=options.batch_size, threshold=options.threshold)
    return [{key: value for key, value in dataclasses.asdict(one).items()
             if key == "score" or value or (key == "labels" and model.head.kind == "multilabel")} for one in found]
