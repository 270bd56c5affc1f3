"""Questions and contexts to overlapping windows, as BERT's SQuAD recipe has them (Devlin et al. 2018).

Tokens keep their characters in the context as it was given, so an answer is always a piece of the context itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bertpass.errors import DataError, UsageError
from bertpass.text.squad.data import Answer, Question
from bertpass.text.tokens.tokenizer import Encoding, Pieces, Tokenizer


@dataclass(frozen=True)
class Window(Encoding):
    """One row of a model's input: the question and a stretch of its context. Batches take it as any other encoding.

    Attributes
    ----------
    question
        Number of the question in the list that was given.
    context_start, context_end
        The row's positions that hold context: ``context_start <= position < context_end``.
    is_max_context
        (S,) bool: of all windows that hold a context token, the one that shows it with most context on both sides.
    start, end
        Positions of the first and the last token of the answer; 0, 0 (the first special token) where the answer is not
        wholly inside the window or there is none. Meaningful only if the question has its answers.
    """

    question: int
    context_start: int
    context_end: int
    is_max_context: np.ndarray
    start: int
    end: int


def make_windows(questions: Sequence[Question], tokenizer: Tokenizer, *, max_seq_length: int = 384,
                 doc_stride: int = 128, max_query_length: int = 64) -> list[Window]:
    """Cut questions into windows; a question's windows stand together, in the order of its context.

    ``doc_stride`` is how far each window starts after the one before (in tokens). The first answer of a question gives
    the label positions.

    Raises
    ------
    UsageError
        A length below 1, or no room for context.
    DataError
        A context has no tokens.
    """
    if min(max_seq_length, doc_stride, max_query_length) < 1:
        raise UsageError("max_seq_length, doc_stride and max_query_length have to be at least 1.")
    contexts = list({q.context: None for q in questions})
    pieces = dict(zip(contexts, tokenizer.pieces(contexts), strict=True))
    windows: list[Window] = []
    queries = tokenizer.pieces([q.question for q in questions])
    for number, (question, query) in enumerate(zip(questions, queries, strict=True)):
        query = Pieces(query.ids[:max_query_length], query.offsets[:max_query_length])
        room = max_seq_length - len(query.ids) - tokenizer.special_count(pair=True)
        if room < 1:
            raise UsageError(f"max_seq_length {max_seq_length} leaves no room for context after a question of "
                             f"{len(query.ids)} tokens; raise it or lower max_query_length ({max_query_length}).")
        windows += _windows_of(number, question, query, pieces[question.context], tokenizer, room, doc_stride)
    return windows


def window_starts(tokens: int, room: int, stride: int) -> list[int]:
    """First tokens of the windows of a context: every ``stride`` tokens (at most ``room``) up to its end."""
    step = min(stride, room)
    return list(range(0, max(tokens - room, 0) + step, step))


def max_context(tokens: int, room: int, starts: Sequence[int]) -> np.ndarray:
    """For every token of a context, the number of the window that shows it best: (tokens,) int.

    A window's score for a token is the smaller of its tokens to the left and to the right, plus a hundredth of the
    window's length; the earlier window wins a tie (Devlin et al. 2018, SQuAD recipe).
    """
    position = np.arange(tokens)
    scores = np.full((len(starts), tokens), -1.0)
    for window, start in enumerate(starts):
        end = min(start + room, tokens)
        inside = slice(start, end)
        scores[window, inside] = np.minimum(position[inside] - start, end - 1 - position[inside]) + 0.01 * (end - start)
    return scores.argmax(axis=0)


def _windows_of(number: int, question: Question, query: Pieces, context: Pieces, tokenizer: Tokenizer, room: int,
                stride: int) -> list[Window]:
    tokens = len(context.ids)
    if not tokens:
        raise DataError(f"question {question.id!r} has an empty context; there is nothing to look for an answer in.")
    answer = question.answers[0] if question.answers else None
    first, last = (-1, -1) if answer is None else answer_tokens(context.offsets, answer)
    starts = window_starts(tokens, room, stride)
    best = max_context(tokens, room, starts)
    made = []
    for at, start in enumerate(starts):
        end = min(start + room, tokens)
        row = tokenizer.row(query, Pieces(context.ids[start:end], context.offsets[start:end]))
        shift = len(row) - 1 - (end - start)  # position of the window's first context token in the row
        is_best = np.zeros(len(row), bool)
        is_best[shift:shift + end - start] = best[start:end] == at
        inside = start <= first <= last < end
        made.append(Window(row.ids, row.token_types, row.offsets, row.sequence_ids, number, shift, shift + end - start,
                           is_best, first - start + shift if inside else 0, last - start + shift if inside else 0))
    return made


def answer_tokens(offsets: np.ndarray, answer: Answer) -> tuple[int, int]:
    """The first and the last token that touch an answer's characters, or (-1, -1) if none does (an empty answer)."""
    touched = np.flatnonzero((offsets[:, 0] < answer.start + len(answer.text)) & (offsets[:, 1] > answer.start))
    return (int(touched[0]), int(touched[-1])) if answer.text and len(touched) else (-1, -1)
