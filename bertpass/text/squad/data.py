"""Reading SQuAD files (Rajpurkar et al. 2016: 1.1; 2018: 2.0), plain or .gz, with or without answers.

Two forms are read: SQuAD's own, articles of paragraphs of questions, and the flat one that the ``datasets`` library
writes, where each row has its context (a list, an object with the list under "data", or one row per line).

One answer that does not stand where the file says does not cost the file. Scoring needs the answers' texts alone, so
there it changes nothing; training looks the text up, and leaves the question out where that fails. ``SquadData.notes``
counts both and names the first ids.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bertpass.errors import DataError
from bertpass.text.files import check_text, read_json, read_lines

NAMED = 10  # so many ids a note names
_YES, _NO = ("true", "yes", "1"), ("false", "no", "0", "")


@dataclass(frozen=True)
class Answer:
    """A span of a context: ``context[start:start + len(text)] == text``; ``start`` is -1 where it is not known."""

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
    """The questions of a file; ``version_2`` if its version says so or a question is marked as without an answer.

    ``notes`` are sentences on answers that do not stand where the file says.
    """

    questions: tuple[Question, ...]
    version_2: bool
    notes: tuple[str, ...] = ()

    @property
    def labelled(self) -> bool:
        """Whether every question has its answers or, in 2.0, is known to have none."""
        return not self.unlabelled

    @property
    def unlabelled(self) -> list[str]:
        """Ids of the questions whose answers are not known."""
        return [q.id for q in self.questions if not (q.answers or (self.version_2 and q.answers is not None))]


def named(ids: list[str]) -> str:
    """The first ids of a list, for a sentence."""
    return ", ".join(map(repr, ids[:NAMED])) + (", ..." if len(ids) > NAMED else "")


def read_squad(path: str | Path, *, train: bool = False, strict: bool = False) -> SquadData:
    """Read a SQuAD file.

    Parameters
    ----------
    train
        Whether answers have to stand in their contexts: a question of which none does is left out. Else every answer
        that is a text is kept, for the official score looks at texts alone.
    strict
        Refuse a file with an answer that does not stand where it says.

    Raises
    ------
    DataError
        The file is missing or no JSON, a part of the layout is missing, an id occurs twice, nothing is left, or
        ``strict`` is asked for and an answer does not stand in its context where the file says.
    """
    path = Path(path)
    content = _content(path)
    questions: list[Question] = []
    seen: set[str] = set()
    version_2 = isinstance(content, dict) and str(content.get("version", "")).lstrip("v").startswith("2")
    moved: list[str] = []
    wrong: list[tuple[str, str]] = []  # (id, what is wrong)
    for where, title, context, item in _items(content, str(path)):
        name = _name(item.get("id", len(seen)), where)
        where = f"{where}, question {name!r}"
        if name in seen:
            raise DataError(f"{where}: this id occurs twice; predictions are kept by id.")
        seen.add(name)
        text = check_text(_part(item, "question", str, where), where)
        impossible = _flag(item.get("is_impossible"), where)
        version_2 |= impossible
        listed = _listed(item, where)
        if listed is None:
            questions.append(Question(name, text, context, () if impossible else None, title))
            continue
        answers, misplaced, fault = _fit(listed, context, impossible, train)
        if strict and (fault or misplaced):
            raise DataError(f"{where}: {fault or misplaced}.")
        if misplaced:
            moved.append(name)
        if fault:
            wrong.append((name, fault))
        if answers is not None:
            questions.append(Question(name, text, context, answers, title))
    if not questions:
        raise DataError(f"{path} has no questions" + (f" that can be trained on: {len(wrong)} were left out, question "
                                                      f"{wrong[0][0]!r} because {wrong[0][1]}." if wrong else "."))
    return SquadData(tuple(questions), version_2, tuple(_notes(path, len(seen), moved, wrong, train)))


def _notes(path: Path, count: int, moved: list[str], wrong: list[tuple[str, str]], train: bool) -> Iterator[str]:
    if moved:
        yield (f"{path}: {len(moved)} of {count} questions have an answer that does not stand where the file says and "
               f"was looked up in its context: {named(moved)}.")
    if wrong:
        what = "was left out" if train else "is scored by its text alone"
        yield (f"{path}: {len(wrong)} of {count} questions have an answer that is wrong and {what}: "
               f"{named([name for name, _ in wrong])}. Of the first, {wrong[0][1]}.")


# -- the two forms ----------------------------------------------------------------------------------------------------


def _content(path: Path) -> Any:
    """The JSON of a file; a list of rows where it has one row per line."""
    if path.name.removesuffix(".gz").lower().endswith((".jsonl", ".ndjson")):
        rows = []
        for number, line in read_lines(path):
            try:
                rows.append(json.loads(line))
            except (json.JSONDecodeError, RecursionError) as error:
                raise DataError(f"{path}, line {number}: not a JSON object ({error}).") from error
        return rows
    return read_json(path)


def _items(content: Any, where: str) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    """(where, title, context, question) of every question."""
    rows = content.get("data") if isinstance(content, dict) else content
    if not isinstance(rows, list):
        raise DataError(f"{where}: expected a list under 'data', as in SQuAD's JSON, or a list of rows with question, "
                        "context and answers.")
    for at, row in enumerate(rows):
        if isinstance(row, dict) and "paragraphs" not in row and "context" in row:
            inside = f"{where}, row {at + 1}"
            yield inside, str(row.get("title") or ""), check_text(_part(row, "context", str, inside), inside), row
        else:
            yield from _of_article(row, f"{where}, article {at + 1}")


def _of_article(article: Any, at: str) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    paragraphs = _part(article, "paragraphs", list, at)
    title = str(article.get("title") or "")
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


def _name(value: Any, where: str) -> str:
    """An id, which may be a number."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise DataError(f"{where}: an id is {value!r:.40}, expected text or a whole number.")
    return str(value)


def _flag(value: Any, where: str) -> bool:
    """A JSON boolean, or one that was written as a text or as 0 or 1."""
    word = str(value).strip().lower() if isinstance(value, (str, bool, int)) else value
    if value is None or word in _NO:
        return False
    if word in _YES:
        return True
    raise DataError(f"{where}: is_impossible is {value!r:.40}, expected true or false.")


def _listed(item: Mapping[str, Any], where: str) -> list[Mapping[str, Any]] | None:
    """The answers of a question as objects; None where it has no list of them."""
    answers = item.get("answers")
    if answers is None:
        return None
    if isinstance(answers, dict):  # of the flat form: a list of texts and a list of their starts
        texts = _part(answers, "text", list, where)
        starts = answers.get("answer_start")
        if not isinstance(starts, list) or len(starts) != len(texts):
            raise DataError(f"{where}: expected as many numbers under 'answer_start' as texts under 'text'.")
        return [{"text": text, "answer_start": start} for text, start in zip(texts, starts, strict=True)]
    for answer in _part(item, "answers", list, where):
        if not isinstance(answer, dict):
            raise DataError(f"{where}: expected text under 'text', as in SQuAD's JSON.")
    return list(answers)


# -- where answers stand ----------------------------------------------------------------------------------------------


def _fit(listed: list[Mapping[str, Any]], context: str, impossible: bool, train: bool,
         ) -> tuple[tuple[Answer, ...] | None, str | None, str | None]:
    """The answers of one question (None: to be left out), what was looked up, and what is wrong, in words."""
    found, misplaced, fault = [], None, None
    for answer in listed:
        text, start = answer.get("text"), answer.get("answer_start")
        if not isinstance(text, str):
            fault = f"the answer is {text!r:.60}, expected text"
            continue
        number = start if isinstance(start, int) and not isinstance(start, bool) and start >= 0 else None
        place = _place(text, number, context)
        if place is None:
            fault = (f"the context does not hold the answer {text!r:.60} at character {start!r:.40}, nor in one other "
                     "place")
            found += [] if train else [Answer(text, -1)]
            continue
        if place != number:
            there = "" if number is None else f"; it has {context[number:number + len(text)]!r:.60} there"
            misplaced = f"the context does not hold the answer {text!r:.60} at character {start!r:.40}{there}"
        found.append(Answer(text, place))
    if listed and impossible:
        fault = "it is marked as without an answer (is_impossible) and has answers"
    left_out = fault is not None and (not found or (train and impossible))
    return None if left_out else tuple(found), misplaced, fault


def _place(text: str, start: int | None, context: str) -> int | None:
    """Where an answer stands: at ``start``, else at the place next to it, else at the only one; None if not there."""
    if start is not None and context[start:start + len(text)] == text:
        return start
    places = [at for at in range(len(context)) if context.startswith(text, at)] if text else []
    if places and start is not None:
        return min(places, key=lambda at: abs(at - start))
    return places[0] if len(places) == 1 else None
