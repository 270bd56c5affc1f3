"""Questions made by rules: answers stand where they say, and development questions are worded as none in training."""

import json

from bertpass.jobs.demo.made_questions import made
from bertpass.text.squad import read_squad


def questions(content):
    return [(paragraph["context"], each) for article in content["data"] for paragraph in article["paragraphs"]
            for each in paragraph["qas"]]


def test_answers_stand_where_they_say():
    found = questions(made(200, 0))
    assert len(found) > 500
    for context, each in found:
        (answer,) = each["answers"]
        start = answer["answer_start"]
        assert context[start:start + len(answer["text"])] == answer["text"] and answer["text"]
        assert "{" not in context + each["question"] and each["question"].endswith("?")
    assert len({each["id"] for _, each in found}) == len(found)


def test_the_same_seed_gives_the_same_questions():
    assert made(5, 1) == made(5, 1) != made(5, 2)


def test_development_questions_are_worded_anew():
    def wordings(content):
        return {each["question"].split(" the ")[0].split("?")[0][:14] for _, each in questions(content)}
    assert not {each["question"] for _, each in questions(made(300, 0))} & {
        each["question"] for _, each in questions(made(300, 0, held_out=True))}
    assert len(wordings(made(300, 0, held_out=True)) - wordings(made(300, 0))) > 5


def test_the_reader_of_squad_reads_them(tmp_path):
    (tmp_path / "made.json").write_text(json.dumps(made(10, 0)))
    data = read_squad(tmp_path / "made.json")
    assert data.labelled and not data.version_2 and len(data.questions) == len(questions(made(10, 0)))
