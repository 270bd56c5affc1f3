"""Questions and answers made by rules, in SQuAD's layout: enough to show a question-answering model being made.

Paragraphs state facts about invented lighthouses, ships, companies and people; each answer is a span of its paragraph.
Names are put together from syllables, so that none can be known beforehand, and development questions are worded in
ways that training questions never are. A model trained on these has learnt to look things up in plain sentences, and
its figures are not to be compared with SQuAD's.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_FIRST = ("Ines", "Otto", "Maya", "Kofi", "Lena", "Tomas", "Aiko", "Samir", "Greta", "Pablo", "Nadia", "Henrik",
          "Ruth", "Emeka", "Clara", "Viktor", "Priya", "Jonas", "Fatima", "Walter")
_HEADS = ("Nor", "Tar", "Bel", "Ost", "Kel", "Mar", "Lun", "Gra", "Hol", "Ver", "Sil", "Dor", "Wes", "Pal",
          "Rav", "Ter")
_MIDDLES = ("", "", "a", "en", "i", "or", "um", "el")
_TAILS = ("vik", "now", "mont", "dal", "ford", "by", "stad", "burg", "lin", "sen", "mar", "ton", "gard", "holm")
_MONTHS = ("January", "March", "April", "June", "July", "September", "October", "December")
_PARTS = {
    "material": ("granite", "red brick", "oak", "steel", "white limestone", "reinforced concrete", "larch wood"),
    "colour": ("red and white", "dark green", "bright yellow", "pale blue", "black", "silver grey"),
    "work": ("a retired teacher", "an engineer", "a violin maker", "a biologist", "a former sailor", "a botanist"),
    "goods": ("grain", "timber", "bicycles", "glass bottles", "surgical instruments", "coffee", "woollen blankets"),
    "cause": ("a storm", "a fire in the kitchen", "a flood", "the lack of money", "a collision with a tug"),
    "field": ("glaciers", "sea birds", "medieval music", "volcanoes", "rare orchids", "early photography"),
}


def _name(source: random.Random) -> str:
    return source.choice(_HEADS) + source.choice(_MIDDLES) + source.choice(_TAILS)


#: kind of answer -> how one is made
_SLOTS: dict[str, Callable[[random.Random], str]] = {
    "year": lambda s: str(s.randint(1780, 2019)),
    "date": lambda s: f"{s.randint(1, 28)} {s.choice(_MONTHS)} {s.randint(1850, 2019)}",
    "person": lambda s: f"{s.choice(_FIRST)} {_name(s)}",
    "place": _name,
    "length": lambda s: f"{s.randint(12, 480)} metres",
    "money": lambda s: f"{s.randint(2, 90)} million euros",
    "count": lambda s: str(s.randint(12, 4800)),
    **{kind: (lambda s, kind=kind: s.choice(_PARTS[kind])) for kind in _PARTS},  # type: ignore[misc]
}


@dataclass(frozen=True)
class Fact:
    """What may be said of a subject: ``slot`` is the kind of answer, {S} the subject and {A} the answer.

    The last question is for development only.
    """

    slot: str
    statements: tuple[str, ...]
    questions: tuple[str, ...]


_BUILDING = (
    Fact("year", ("{S} was built in {A}.", "{S} dates from {A}."),
         ("When was {s} built?", "In what year was {s} put up?", "Which year does {s} date from?")),
    Fact("person", ("{S} was designed by {A}.", "{S} is the work of the architect {A}."),
         ("Who designed {s}?", "Which architect drew {s}?", "By whom was {s} designed?")),
    Fact("material", ("{S} is made of {A}.", "{S} was put together from {A}."),
         ("What is {s} made of?", "Which material is {s} built from?", "From what was {s} constructed?")),
    Fact("length", ("{S} is {A} high.", "{S} rises {A} above the ground."),
         ("How high is {s}?", "How tall is {s}?", "What is the height of {s}?")),
    Fact("colour", ("{S} is painted {A}.", "{S} has been {A} ever since."),
         ("What colour is {s}?", "In which colour is {s} painted?", "How is {s} painted?")),
    Fact("money", ("{S} was repaired for {A}.", "{S} cost {A} to restore."),
         ("How much did the repair of {s} cost?", "What was paid to restore {s}?",
          "How expensive was it to repair {s}?")),
    Fact("count", ("{S} is visited by {A} people a day.", "{S} receives {A} guests every day."),
         ("How many people visit {s} each day?", "How many guests does {s} have a day?",
          "What is the daily number of visitors of {s}?")),
)
_SHIP = (
    Fact("year", ("{S} was launched in {A}.", "{S} first sailed in {A}."),
         ("When was {s} launched?", "In which year did {s} sail first?", "What year was {s} put to sea?")),
    Fact("place", ("{S} sailed from {A}.", "{S} had its home port in {A}."),
         ("Where did {s} sail from?", "Which port was the home of {s}?", "What was the home port of {s}?")),
    Fact("goods", ("{S} carried {A}.", "{S} was loaded with {A}."),
         ("What did {s} carry?", "What was {s} loaded with?", "Which cargo was on board {s}?")),
    Fact("cause", ("{S} was lost because of {A}.", "{S} sank after {A}."),
         ("Why was {s} lost?", "What made {s} sink?", "What was the reason for the loss of {s}?")),
    Fact("person", ("{S} was commanded by {A}.", "{S} had {A} as its captain."),
         ("Who commanded {s}?", "Who was the captain of {s}?", "Under whose command was {s}?")),
    Fact("count", ("{S} had {A} people on board.", "{S} took {A} passengers."),
         ("How many people were on board {s}?", "How many passengers did {s} take?",
          "What number of people sailed on {s}?")),
)
_COMPANY = (
    Fact("date", ("{S} was founded on {A}.", "{S} opened its doors on {A}."),
         ("When was {s} founded?", "On which day did {s} open?", "What is the founding date of {s}?")),
    Fact("person", ("{S} was started by {A}.", "{S} owes its existence to {A}."),
         ("Who started {s}?", "Who founded {s}?", "Which person set up {s}?")),
    Fact("place", ("{S} has its office in {A}.", "{S} moved to {A}."),
         ("Where is the office of {s}?", "Where did {s} move to?", "In which town can {s} be found?")),
    Fact("goods", ("{S} makes {A}.", "{S} is known for {A}."),
         ("What does {s} make?", "What is {s} known for?", "Which products come from {s}?")),
    Fact("count", ("{S} employs {A} people.", "{S} gives work to {A} people."),
         ("How many people work for {s}?", "How many employees does {s} have?", "What is the number of staff of {s}?")),
    Fact("money", ("{S} earned {A} last year.", "{S} was sold for {A}."),
         ("How much did {s} bring in?", "What was the sum that {s} earned?", "What amount of money did {s} make?")),
)
_PERSON = (
    Fact("place", ("{S} was born in {A}.", "{S} grew up in {A}."),
         ("Where was {s} born?", "Where did {s} grow up?", "What is the home town of {s}?")),
    Fact("year", ("{S} left school in {A}.", "{S} went abroad in {A}."),
         ("When did {s} go away?", "In which year did {s} leave?", "What year saw {s} leave?")),
    Fact("work", ("{S} is {A}.", "{S} made a living as {A}."),
         ("What is {s}?", "What does {s} do for a living?", "What is the profession of {s}?")),
    Fact("field", ("{S} wrote a book about {A}.", "{S} spent many years on {A}."),
         ("What did {s} write about?", "Which subject did {s} study?", "What was the book of {s} about?")),
    Fact("person", ("{S} married {A}.", "{S} worked together with {A}."),
         ("Whom did {s} marry?", "Who worked with {s}?", "Who was the partner of {s}?")),
)
_SUBJECTS: tuple[tuple[str, tuple[Fact, ...]], ...] = (
    *((f"the {word} at {{place}}", _BUILDING) for word in ("lighthouse", "town hall", "mill", "station", "museum")),
    *((f"the {word} {{place}}", _SHIP) for word in ("schooner", "ferry", "steamer")),
    ("{place} Brothers", _COMPANY), ("the {place} Company", _COMPANY), ("{person}", _PERSON), ("{person}", _PERSON))


def made(paragraphs: int, seed: int, held_out: bool = False) -> dict[str, Any]:
    """Paragraphs with their questions, as SQuAD 1.1 has them in JSON; ``held_out`` takes the development wordings."""
    source = random.Random(f"{seed} {held_out}")
    return {"version": "1.1", "data": [{"title": "made by rules", "paragraphs": [
        _paragraph(source, f"{'dev' if held_out else 'train'}-{number}", held_out) for number in range(paragraphs)]}]}


def _paragraph(source: random.Random, name: str, held_out: bool) -> dict[str, Any]:
    """Two to five facts about one or two subjects, in any order, and a question about each."""
    pattern, facts = source.choice(_SUBJECTS)
    subjects = [_subject(source, pattern) for _ in range(source.choice((1, 1, 1, 2)))]
    told = [(subject, fact) for subject in subjects for fact in source.sample(facts, source.randint(2, 4))]
    source.shuffle(told)
    text, before = "", None
    questions: list[dict[str, Any]] = []
    for subject, fact in told[:5]:
        answer = _SLOTS[fact.slot](source)
        pronoun = "It" if not pattern.startswith("{person}") else "Later this person"
        named = subject != before or len(subjects) > 1 or source.random() < 0.4
        words = source.choice(fact.statements).replace("{S}", _capital(subject) if named else pronoun)
        start = len(text) + words.index("{A}")
        text += words.replace("{A}", answer) + " "
        before = subject
        wording = fact.questions[-1] if held_out else source.choice(fact.questions[:-1])
        questions.append({"id": f"{name}-{len(questions)}", "question": wording.replace("{s}", subject),
                          "answers": [{"text": answer, "answer_start": start}]})
    return {"context": text.strip(), "qas": questions}


def _subject(source: random.Random, pattern: str) -> str:
    return pattern.replace("{place}", _name(source)).replace("{person}", _SLOTS["person"](source))


def _capital(words: str) -> str:
    return words[0].upper() + words[1:]

