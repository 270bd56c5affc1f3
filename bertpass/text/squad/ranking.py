"""Re-ranking data from SQuAD: which paragraph of its article a question belongs to."""

from __future__ import annotations

import random
from pathlib import Path

from bertpass.errors import DataError
from bertpass.text.example import Example
from bertpass.text.squad.data import read_squad

CANDIDATES = {"train": 5, "dev": 10}  # paragraphs a question at most, its own among them
DEV_QUESTIONS = 1000  # at most; those of SQuAD's dev file would be a hundred thousand pairs


def read_paragraphs(path: str | Path, split: str) -> list[Example]:
    """Pairs of a question and a paragraph of a SQuAD file, relevance 1 for the paragraph that it was asked about.

    Beside that one come others of the same article, drawn by the question's id alone and so always the same, up to
    ``CANDIDATES``, in an order that does not tell. Questions without an answer, or of an article with a single
    paragraph, are left out; of a development file every n-th question is taken, ``DEV_QUESTIONS`` at most.

    Raises
    ------
    DataError
        As :func:`~bertpass.text.squad.data.read_squad`, or no question is left.
    """
    questions, count = read_squad(path).questions, CANDIDATES.get(split, CANDIDATES["dev"])
    articles: dict[str, dict[str, None]] = {}
    for question in questions:
        articles.setdefault(question.title, {})[question.context] = None
    made: list[Example] = []
    step = 1 if split == "train" else -(-len(questions) // DEV_QUESTIONS)
    for question in questions[::step]:
        others = [context for context in articles[question.title] if context != question.context]
        if not question.answers or not others:
            continue
        source = random.Random(question.id)
        chosen = [question.context, *source.sample(others, min(count - 1, len(others)))]
        source.shuffle(chosen)
        made += [Example(question.question, context, float(context == question.context), str(len(made) + at),
                         group=question.id) for at, context in enumerate(chosen)]
    if not made:
        raise DataError(f"{path} has no question with an answer in an article of several paragraphs.")
    return made
