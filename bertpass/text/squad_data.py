"""Reading SQuAD files (Rajpurkar et al. 2016: 1.1; 2018: 2.0), plain or .gz, with or without answers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bertpass.errors import DataError
from bertpass.text.files import check_text, read_json


@dataclass(frozen=True)
class Answer:
    """A span of a context: ``context[start:start + len(text)] == text``."""

    text: str
    start: int


@dataclass(frozen=True)
class Question:
    """A question and its context; ``answers`` is None if they are not known (to predict), () if there is no answer."""

    id: str
    question: str
    context: str
    answers: tuple[Answer, ...] | None = None
    title: str = ""


@dataclass(frozen=True)
class SquadData:
    """The questions of a file; ``version_2`` if its version says so or a question is marked as without an answer."""

    questions: tuple[Question, ...]
    version_2: bool

    @property
    def labelled(self) -> bool:
        """Whether every question has its answers or, in 2.0, is known to have none."""
        return all(q.answers or (self.version_2 and q.answers is not None) for q in self.questions)


def read_squad(path: str | Path) -> SquadData:
    """Read a SQuAD file.

    Raises
    ------
    DataError
        The file is missing or no JSON, a part of the layout is missing, an id occurs twice, or an answer does not stand
        in its context where the file says.
    """
    path = Path(path)
    content = read_json(path)
    articles = _part(content, "data", list, str(path))
    questions: list[Question] = []
    seen: set[str] = set()
    version_2 = str(content.get("version", "")).lstrip("v").startswith("2")
    for where, title, context, item in _items(articles, str(path)):
        name = str(item.get("id", len(questions)))
        where = f"{where}, question {name!r}"
        if name in seen:
            raise DataError(f"{where}: this id occurs twice; predictions are kept by id.")
        seen.add(name)
        text = check_text(_part(item, "question", str, where), where)
        impossible = bool(item.get("is_impossible", False))
        version_2 |= impossible
        answers: tuple[Answer, ...] | None = None
        if impossible:
            answers = ()
        elif "answers" in item:
            answers = tuple(_answer(a, context, where) for a in _part(item, "answers", list, where))
        questions.append(Question(name, text, context, answers, title))
    if not questions:
        raise DataError(f"{path} has no questions.")
    return SquadData(tuple(questions), version_2)


def _items(articles: list[Any], where: str) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    for a, article in enumerate(articles):
        at = f"{where}, article {a + 1}"
        paragraphs = _part(article, "paragraphs", list, at)
        title = str(article.get("title", ""))
        for p, paragraph in enumerate(paragraphs):
            inside = f"{at}, paragraph {p + 1}"
            context = check_text(_part(paragraph, "context", str, inside), inside)
            for item in _part(paragraph, "qas", list, inside):
                if not isinstance(item, dict):
                    raise DataError(f"{inside}: expected an object in 'qas', found {type(item).__name__}.")
                yield inside, title, context, item


def _part(holder: Any, key: str, kind: type, where: str) -> Any:
    """``holder[key]`` if it is there and of that type."""
    if not isinstance(holder, dict) or not isinstance(holder.get(key), kind):
        names = {list: "a list", str: "text", int: "a whole number"}
        raise DataError(f"{where}: expected {names[kind]} under {key!r}, as in SQuAD's JSON.")
    return holder[key]


def _answer(answer: Any, context: str, where: str) -> Answer:
    text = _part(answer, "text", str, where)
    start = _part(answer, "answer_start", int, where)
    if start < 0 or context[start:start + len(text)] != text:
        raise DataError(f"{where}: the context does not hold the answer {text!r:.60} at character {start}; it has "
                        f"{context[max(start, 0):max(start, 0) + len(text)]!r:.60} there.")
    return Answer(text, start)
