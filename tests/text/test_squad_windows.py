"""SQuAD files and windows: layout faults, strides, the best context of every token, label positions."""

from __future__ import annotations

import copy
import gzip
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertpass.errors import DataError, UsageError
from bertpass.text.squad import Answer, Question, make_windows, read_squad
from bertpass.text.squad.windows import answer_tokens, max_context, window_starts
from bertpass.text.tokens.batching import batches
from bertpass.text.tokens.tokenizer import Tokenizer

CONTEXT = "Ève saw  the cat in 1990s Paris, then the dog."
FILE: dict[str, Any] = {"version": "1.1", "data": [{"title": "T", "paragraphs": [{"context": CONTEXT, "qas": [
    {"id": "a", "question": "What did Ève see?", "answers": [{"text": "the cat", "answer_start": 9}]},
    {"id": "b", "question": "When?", "answers": [{"text": "1990", "answer_start": 20}]}]}]}]}


def saved(folder: Path, content: Any) -> Path:
    path = folder / "dev-v1.1.json.gz"
    path.write_bytes(gzip.compress(json.dumps(content).encode()))
    return path


def test_read(tmp_path: Path) -> None:
    data = read_squad(saved(tmp_path, FILE))
    assert not data.version_2 and data.labelled
    assert data.questions[0] == Question("a", "What did Ève see?", CONTEXT, (Answer("the cat", 9),), "T")


def test_read_questions_without_answers(tmp_path: Path) -> None:
    content = copy.deepcopy(FILE)
    del content["data"][0]["paragraphs"][0]["qas"][0]["answers"]
    data = read_squad(saved(tmp_path, content))
    assert data.questions[0].answers is None and not data.labelled


def test_impossible_questions_make_version_2(tmp_path: Path) -> None:
    content = copy.deepcopy(FILE)
    content["data"][0]["paragraphs"][0]["qas"][0] |= {"is_impossible": True, "answers": [],
                                                      "plausible_answers": [{"text": "dog", "answer_start": 42}]}
    data = read_squad(saved(tmp_path, content))
    assert data.version_2 and data.labelled and data.questions[0].answers == ()


@pytest.mark.parametrize(("path", "value", "words"), [
    (["data"], None, "expected a list under 'data'"),
    (["data"], [], "has no questions"),
    (["data", 0, "paragraphs"], "x", "article 1: expected a list under 'paragraphs'"),
    (["data", 0, "paragraphs", 0, "context"], 3, "paragraph 1: expected text under 'context'"),
    (["data", 0, "paragraphs", 0, "context"], "\ud800", "lone surrogate"),
    (["data", 0, "paragraphs", 0, "qas", 0], [], "expected an object in 'qas'"),
    (["data", 0, "paragraphs", 0, "qas", 0, "question"], None, "question 'a': expected text under 'question'"),
    (["data", 0, "paragraphs", 0, "qas", 1, "id"], "a", "question 'a': this id occurs twice"),
    (["data", 0, "paragraphs", 0, "qas", 0, "answers"], [3], "expected text under 'text'"),
    (["data", 0, "paragraphs", 0, "qas", 0, "answers"], {"text": ["cat"]}, "as many numbers"),
    (["data", 0, "paragraphs", 0, "qas", 0, "is_impossible"], "perhaps", "is_impossible is 'perhaps', expected true"),
    (["data", 0, "paragraphs", 0, "qas", 0, "is_impossible"], 2, "is_impossible is 2"),
])
def test_faults_of_files(tmp_path: Path, path: list, value: Any, words: str) -> None:
    content = copy.deepcopy(FILE)
    inner: Any = content
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    with pytest.raises(DataError, match=words):
        read_squad(saved(tmp_path, content))


def test_not_json(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text('{"data": [\n}')
    with pytest.raises(DataError, match="line 2: not JSON"):
        read_squad(path)
    path.write_text("[" * 200_000)
    with pytest.raises(DataError, match=r"nested too deeply|not JSON"):
        read_squad(path)
    path.write_text("[1]")
    with pytest.raises(DataError, match="article 1: expected a list under 'paragraphs'"):
        read_squad(path)
    path.write_text("1")
    with pytest.raises(DataError, match="expected a list under 'data', as in SQuAD's JSON, or a list of rows"):
        read_squad(path)


def changed(folder: Path, **fields: Any) -> Path:
    """The file with other fields in its first question; None takes one out."""
    content = copy.deepcopy(FILE)
    first = content["data"][0]["paragraphs"][0]["qas"][0]
    first.update(fields)
    for key in [key for key, value in fields.items() if value is None]:
        del first[key]
    return saved(folder, content)


@pytest.mark.parametrize("said", [False, "False", "false", "no", "0", 0, None, ""])
def test_a_flag_as_text_keeps_the_answer(tmp_path: Path, said: Any) -> None:
    data = read_squad(changed(tmp_path, is_impossible=said))
    assert data.questions[0].answers == (Answer("the cat", 9),) and not data.version_2


@pytest.mark.parametrize("said", [7, "7", 0, -1])
def test_an_id_may_be_a_number(tmp_path: Path, said: Any) -> None:
    assert read_squad(changed(tmp_path, id=said)).questions[0].id == str(said)


@pytest.mark.parametrize("said", [True, 1.5, [], {}])
def test_an_id_that_is_none(tmp_path: Path, said: Any) -> None:
    with pytest.raises(DataError, match=r"an id is .*, expected text or a whole number"):
        read_squad(changed(tmp_path, id=said))


def test_a_title_that_is_null(tmp_path: Path) -> None:
    content = copy.deepcopy(FILE)
    content["data"][0]["title"] = None
    assert read_squad(saved(tmp_path, content)).questions[0].title == ""


def test_an_answer_without_a_text_costs_its_question_alone(tmp_path: Path) -> None:
    path = changed(tmp_path, answers=[{"answer_start": 9}])
    assert [question.id for question in read_squad(path, train=True).questions] == ["b"]
    assert "left out: 'a'. Of the first, the answer is None, expected text" in read_squad(path, train=True).notes[0]


@pytest.mark.parametrize("said", [True, "True", "true", "yes", 1, "1"])
def test_a_flag_as_text_for_no_answer(tmp_path: Path, said: Any) -> None:
    data = read_squad(changed(tmp_path, is_impossible=said, answers=[]))
    assert data.questions[0].answers == () and data.version_2


@pytest.mark.parametrize("start", [8, 10, 0, -1, 400, "9", 9.0, None, True])
@pytest.mark.parametrize("train", [True, False])
def test_an_answer_in_another_place_is_looked_up(tmp_path: Path, start: Any, train: bool) -> None:
    path = changed(tmp_path, answers=[{"text": "the cat", "answer_start": start}])
    data = read_squad(path, train=train)
    assert data.questions[0].answers == (Answer("the cat", 9),) and len(data.questions) == 2
    assert "1 of 2 questions have an answer that does not stand where the file says" in data.notes[0]
    assert data.notes[0].endswith("'a'.")
    with pytest.raises(DataError, match="question 'a': the context does not hold the answer 'the cat' at character"):
        read_squad(path, train=train, strict=True)


@pytest.mark.parametrize(("answer", "why"), [
    ({"text": "a dog", "answer_start": 9}, "the context does not hold the answer 'a dog' at character 9"),
    ({"text": "the", "answer_start": -1}, "'the' at character -1, nor in one other place"),  # it stands in two
    ({"text": "", "answer_start": "x"}, "the answer ''"),
])
def test_an_answer_that_is_not_there(tmp_path: Path, answer: dict, why: str) -> None:
    """The official score compares texts, so it needs no place; training needs one."""
    path = changed(tmp_path, answers=[answer])
    scored, trained = read_squad(path), read_squad(path, train=True)
    assert scored.questions[0].answers == (Answer(answer["text"], -1),) and scored.labelled
    assert [question.id for question in trained.questions] == ["b"]
    assert "scored by its text alone: 'a'" in scored.notes[0] and "left out: 'a'" in trained.notes[0]
    assert why in scored.notes[0] and why in trained.notes[0]
    with pytest.raises(DataError, match="question 'a': the context does not hold"):
        read_squad(path, strict=True)


@pytest.mark.parametrize("said", [11, 8, 30, 35])
def test_a_place_next_to_the_one_said(tmp_path: Path, said: int) -> None:
    data = read_squad(changed(tmp_path, answers=[{"text": "the", "answer_start": said}]))
    assert data.questions[0].answers == (Answer("the", 9 if said < 20 else CONTEXT.index("the", 10)),)


def test_answers_that_are_no_texts_and_contradictions(tmp_path: Path) -> None:
    path = changed(tmp_path, answers=[{"text": 1990, "answer_start": 20}, {"text": "the cat", "answer_start": 9}])
    assert read_squad(path, train=True).questions[0].answers == (Answer("the cat", 9),)
    assert "the answer is 1990, expected text" in read_squad(path).notes[0]
    path = changed(tmp_path, is_impossible=True)
    official = read_squad(path)  # the official program takes a question with answers as one that has an answer
    assert official.questions[0].answers == (Answer("the cat", 9),) and "is_impossible" in official.notes[0]
    assert [question.id for question in read_squad(path, train=True).questions] == ["b"]


def test_a_note_names_ten_ids(tmp_path: Path) -> None:
    content = copy.deepcopy(FILE)
    content["data"][0]["paragraphs"][0]["qas"] = [
        {"id": str(at), "question": "?", "answers": [{"text": "the cat", "answer_start": 0}]} for at in range(12)]
    note = read_squad(saved(tmp_path, content)).notes[0]
    assert "12 of 12 questions" in note and "'9', ..." in note and "'10'" not in note
    content["data"][0]["paragraphs"][0]["qas"] = [
        {"id": str(at), "question": "?", "answers": [{"text": "no", "answer_start": 0}]} for at in range(12)]
    with pytest.raises(DataError, match="has no questions that can be trained on: 12 were left out, question '0'"):
        read_squad(saved(tmp_path, content), train=True)


def test_flat_forms(tmp_path: Path) -> None:
    """As the datasets library writes SQuAD: rows with their context, answers as two lists."""
    rows = [{"id": "a", "title": "T", "context": CONTEXT, "question": "What did Ève see?",
             "answers": {"text": ["the cat"], "answer_start": [9]}},
            {"id": "b", "title": "T", "context": CONTEXT, "question": "When?",
             "answers": {"text": ["1990"], "answer_start": [20]}}]
    wanted = read_squad(saved(tmp_path, FILE)).questions
    assert read_squad(saved(tmp_path, rows)).questions == wanted
    assert read_squad(saved(tmp_path, {"data": rows})).questions == wanted
    lines = tmp_path / "dev.jsonl"
    lines.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert read_squad(lines).questions == wanted
    lines.write_text('{"id": 1}\n{', encoding="utf-8")
    with pytest.raises(DataError, match="line 2: not a JSON object"):
        read_squad(lines)


# -- windows ----------------------------------------------------------------------------------------------------------


@given(st.integers(1, 300), st.integers(1, 60), st.integers(1, 80))
def test_windows_cover_the_context(tokens: int, room: int, stride: int) -> None:
    starts = window_starts(tokens, room, stride)
    assert starts[0] == 0 and starts[-1] + room >= tokens
    assert all(b - a == min(stride, room) for a, b in itertools.pairwise(starts))
    assert all(start + room < tokens for start in starts[:-1])


@given(st.integers(1, 120), st.integers(1, 40), st.integers(1, 50))
def test_max_context_is_the_recipe_in_plain_loops(tokens: int, room: int, stride: int) -> None:
    starts = window_starts(tokens, room, stride)
    best = max_context(tokens, room, starts)
    for token in range(tokens):
        scores = []
        for start in starts:
            length = min(room, tokens - start)
            end = start + length - 1
            inside = start <= token <= end
            scores.append(min(token - start, end - token) + 0.01 * length if inside else -1.0)
        assert best[token] == scores.index(max(scores))


def test_every_token_is_shown_best_once(minilm: Tokenizer) -> None:
    """Also the last token of every window can start an answer."""
    question = Question("q", "who", " ".join(["cat", "dog", "fox"] * 30))
    windows = make_windows([question], minilm, max_seq_length=20, doc_stride=7)
    assert len(windows) == len(window_starts(90, 16, 7))
    shown = [start for w in windows for start, best in zip(w.offsets[:, 0].tolist(), w.is_max_context, strict=True)
             if best]
    assert sorted(shown) == [4 * i for i in range(90)]
    for window in windows:
        assert not window.is_max_context[:window.context_start].any()
        assert not window.is_max_context[window.context_end:].any()
        assert set(window.sequence_ids[window.context_start:window.context_end]) == {1}
    assert windows[-1].is_max_context[windows[-1].context_end - 1]


def test_labels_point_at_the_answer(minilm: Tokenizer) -> None:
    questions = [Question("a", "What?", CONTEXT, (Answer("the cat", 9),)), Question("b", "When?", CONTEXT, ()),
                 Question("c", "Who?", CONTEXT)]
    for window in make_windows(questions, minilm):
        if window.question == 0:
            assert CONTEXT[window.offsets[window.start, 0]:window.offsets[window.end, 1]] == "the cat"
        else:
            assert (window.start, window.end) == (0, 0)


def test_answer_outside_or_across_a_window_is_0_0(minilm: Tokenizer) -> None:
    words = ["w"] * 40
    words[19:21] = ["cat", "dog"]
    context = " ".join(words)
    question = Question("q", "who", context, (Answer("cat dog", context.index("cat")),))
    windows = make_windows([question], minilm, max_seq_length=14, doc_stride=10)  # room for 10 tokens
    labels = [(w.start, w.end) for w in windows]
    assert labels == [(0, 0)] * 4  # 19 ends the second window, 20 starts the third
    windows = make_windows([question], minilm, max_seq_length=14, doc_stride=5)
    found = [context[w.offsets[w.start, 0]:w.offsets[w.end, 1]] for w in windows if w.start]
    assert found == ["cat dog"]


def test_answer_tokens_touch_the_characters() -> None:
    offsets = np.array([[0, 3], [4, 7], [7, 9], [10, 12]])
    assert answer_tokens(offsets, Answer("xxx", 4)) == (1, 1)
    assert answer_tokens(offsets, Answer("xxxx", 5)) == (1, 2)
    assert answer_tokens(offsets, Answer(" x", 9)) == (3, 3)
    assert answer_tokens(offsets, Answer("", 5)) == (-1, -1)


def test_windows_are_encodings(minilm: Tokenizer) -> None:
    windows = make_windows([Question("a", "Who?", CONTEXT)], minilm)
    (batch,) = batches(windows, 4, pad_id=minilm.pad_id, pad_to=384)
    assert batch.input_ids.shape == (1, 384) and batch.valid_length[0] == len(windows[0])


def test_roberta_windows(roberta_folder: Path) -> None:
    tokenizer = Tokenizer.from_folder(roberta_folder)
    question = Question("q", "who jumps", "the quick fox jumps over the lazy dogs", (Answer("fox", 10),))
    for window in make_windows([question], tokenizer, max_seq_length=24, doc_stride=4):
        assert len(window) <= 24 and window.ids[window.context_start - 1] == tokenizer.sep_id
        if window.start:
            assert question.context[window.offsets[window.start, 0]:window.offsets[window.end, 1]] == "fox"


def test_wrong_calls(minilm: Tokenizer) -> None:
    question = Question("q", "who " * 100, CONTEXT)
    with pytest.raises(UsageError, match="no room for context"):
        make_windows([question], minilm, max_seq_length=67, max_query_length=64)
    assert make_windows([question], minilm, max_seq_length=68, max_query_length=64)[0].context_start == 66
    with pytest.raises(UsageError, match="at least 1"):
        make_windows([question], minilm, doc_stride=0)
    with pytest.raises(DataError, match="empty context"):
        make_windows([Question("q", "who", " ")], minilm)


@pytest.mark.data
def test_real_label_spans_decode_to_the_answer(minilm: Tokenizer, real_data: Path) -> None:
    """In every window; a token that is cut inside a word (1990 of "1990s") may add its other characters."""
    data = read_squad(real_data / "SQuAD" / "dev-v1.1.json.gz")
    questions = data.questions[::5]
    spans = whole = 0
    for window in make_windows(questions, minilm, max_seq_length=192, doc_stride=64):
        question = questions[window.question]
        if window.start:
            text = question.context[window.offsets[window.start, 0]:window.offsets[window.end, 1]]
            assert question.answers and question.answers[0].text in text
            spans += 1
            whole += text == question.answers[0].text
    assert spans > len(questions) and whole > 0.99 * spans
