"""A loaded model: texts in, embeddings, labels, entities, rankings or answers out, whatever engine computes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, overload

import numpy as np

from bertpass.engines import given, late_rows, results
from bertpass.engines.base import Engine
from bertpass.engines.results import Answer, Entity, Prediction, Ranked, SparseVector
from bertpass.engines.rows import joined
from bertpass.errors import UsageError
from bertpass.model.config import WORD_KINDS, EncoderConfig, HeadConfig
from bertpass.model.sentence import Sentence, scaled
from bertpass.text.data import tagging
from bertpass.text.data.labels import placeholders
from bertpass.text.tokens.batching import plan
from bertpass.text.tokens.tokenizer import Tokenizer

__all__ = ["Answer", "Entity", "Model", "Prediction", "Ranked", "SparseVector"]


class Model:
    """What :func:`bertpass.load` returns.

    Attributes
    ----------
    config, head : architecture of the encoder and of its head
    tokenizer : :class:`~bertpass.text.tokens.tokenizer.Tokenizer`
    labels : label names of a classifier in the order of its logits, else empty
    max_length : longest sequence that is computed, in tokens; longer texts are cut
    sentence : what is done around the network to make a vector of a text, its prompts among it
    notes : sentences on what was assumed, left out or changed when the model was opened
    source : the path or name that it was loaded from, empty where it was made in memory
    carried : file name -> fields of the settings of the model's folder, empty where it has none

    It is a context manager, which closes the engine, and can be pickled and copied: the copy is loaded again from
    ``source``.
    """

    def __init__(self, engine: Engine, config: EncoderConfig, head: HeadConfig, tokenizer: Tokenizer | None,
                 labels: Sequence[str] = (), max_length: int | None = None, sentence: Sentence | None = None,
                 notes: Sequence[str] = ()) -> None:
        self.engine, self.config, self.head = engine, config, head
        self.sentence, self.notes = sentence or Sentence(), list(notes)
        self.source, self._loading = "", None  # type: str, Callable[[], Model] | None
        self.carried: Mapping[str, Mapping[str, Any]] = {}
        self._tokenizer = tokenizer
        self.labels = list(labels)
        self.max_length = min(max_length or config.max_length, config.max_length)

    @property
    def tokenizer(self) -> Tokenizer:
        if self._tokenizer is None:
            raise UsageError("this model was loaded without a vocabulary, so it takes ids but no text; "
                             "put a tokenizer.json, vocab.txt or .vocab file beside it.")
        return self._tokenizer

    @property
    def dtype(self) -> str:
        """The precision that the engine computes in; for "auto" what was chosen. Empty where the engine tells none."""
        return str(self.engine.describe().get("dtype", ""))

    def forward(self, input_ids: Any, token_types: Any = None, valid_length: Any = None) -> list[np.ndarray]:
        """Run one batch of ids; see :meth:`bertpass.engines.base.Engine.forward` for the outputs.

        Parameters
        ----------
        input_ids : whole numbers from 0 to vocabulary size - 1, shape (batch, sequence)
        token_types : same shape, default all 0
        valid_length : shape (batch,), from 1 to sequence, default all of the sequence

        Raises
        ------
        UsageError
            Shapes do not fit, ids or lengths are out of range, or the sequence is longer than the model's positions.
        """
        ids = _array("input_ids", input_ids)
        if ids.ndim != 2 or not ids.size or not np.issubdtype(ids.dtype, np.integer):
            raise UsageError(f"input_ids must be whole numbers of shape (batch, sequence), "
                             f"not {ids.dtype} {ids.shape}.")
        types = np.zeros_like(ids) if token_types is None else _array("token_types", token_types)
        valid = np.full(len(ids), ids.shape[1]) if valid_length is None else _array("valid_length", valid_length)
        if types.shape != ids.shape or valid.shape != ids.shape[:1]:
            raise UsageError(f"input_ids are {ids.shape}, so token_types must be {ids.shape} and valid_length "
                             f"{ids.shape[:1]}, not {types.shape} and {valid.shape}.")
        if ids.shape[1] > self.config.max_length:
            raise UsageError(f"a sequence of {ids.shape[1]} tokens is longer than the model's {self.config.max_length} "
                             "positions.")
        limits = (("input_ids", ids, 0, self.config.vocab_size - 1),
                  ("token_types", types, 0, max(self.config.token_type_vocab_size, 1) - 1),
                  ("valid_length", valid, 1, ids.shape[1]))
        for name, values, low, high in limits:  # written so that NaN is refused too
            if not (np.all(values >= low) and np.all(values <= high) and np.all(values == np.floor(values))):
                raise UsageError(f"{name} must be whole numbers from {low} to {high}; found {values.min()} to "
                                 f"{values.max()}.")
        return self.engine.forward(ids.astype(np.int32), types.astype(np.int32), valid.astype(np.int32))

    def run(self, encodings: Sequence[Any], batch_size: int = 32) -> list[np.ndarray]:
        """Compute encoded sequences in batches of similar length; the first output, one row each, in their order.

        Of one that has ``attended`` so many of its first tokens are attended to.
        """
        given.whole_number("batch_size", batch_size)
        rows: list[np.ndarray] = [np.empty(0)] * len(encodings)
        for numbers in plan([len(encoding) for encoding in encodings], batch_size):
            together = joined([(encodings[at].ids, encodings[at].token_types) for at in numbers])
            keys = np.array([getattr(encodings[at], "attended", len(encodings[at])) for at in numbers], np.int64)
            whole = np.array_equal(keys, np.diff(together[2]))
            outputs = self.engine.rows(*together) if whole else self.engine.attended_rows(*together, keys)
            for at, row in zip(numbers, outputs[0].by_row(), strict=True):
                rows[at] = row
        return rows

    def encode(self, texts: str | Sequence[str], *, batch_size: int = 32, normalize: bool | None = None,
               prompt: str | None = None, prompt_name: str | None = None, truncate_dim: int | None = None,
               show_progress_bar: bool = False) -> np.ndarray:
        """Sentence vectors, float32, shape (texts, units), or (units,) for a single string.

        An embedding model gives its own pooling; any other model without a classifier gives the mean over its token
        states. An empty text is computed as [CLS] [SEP].

        Parameters
        ----------
        texts : one text, or any sequence of texts; longer ones than ``max_length`` are cut
        batch_size : texts that are computed together, those of similar length
        normalize : scale to length 1 (default: as the model says, False where it says nothing)
        prompt, prompt_name : what is put in front of every text, or the name of one of the model's prompts (default:
            the model's default prompt, where it has one)
        truncate_dim : keep so many of the first numbers (default: as the model says), before ``normalize`` scales
        show_progress_bar : a bar on standard error; a line every 15 seconds where that is no terminal

        Raises
        ------
        UsageError
            The model gives no embeddings, has no prompt of that name, or an argument is of the wrong type.
        """
        many = given.texts(texts)
        given.switch("normalize", normalize, (None,))
        given.switch("show_progress_bar", show_progress_bar, (None,))
        if self.head.kind not in ("embedding", "none", "pooled"):
            raise UsageError(f"this is a {self.head.kind} model and gives no embeddings; use {self._use()}.")
        if self.sentence.late is not None:
            raise UsageError("this is a late-interaction model, with a vector for every token; use encode_tokens().")
        if truncate_dim is not None:
            given.whole_number("truncate_dim", truncate_dim)
        put = self.sentence.prompt(prompt, prompt_name)
        rows = self._run_shown(self.tokenizer.encode(with_prompt(put, many), max_length=self.max_length), batch_size,
                               show_progress_bar)
        if self.sentence.pooling:
            before = 1 + len(self.tokenizer.pieces([put])[0].ids) if put and not self.sentence.include_prompt else 0
            rows = list(self.sentence.pool(rows, before)) if rows else rows
        elif self.head.kind != "embedding":
            rows = [row.mean(axis=0) for row in rows]
        out = np.stack(rows) if rows else np.zeros((0, self.sentence.width(self.config.units)), np.float32)
        out = self.sentence.finish(out, truncate_dim)
        scaled_already = self.head.kind == "embedding" and self.head.normalize and not self.sentence.layers
        if normalize and not (scaled_already and out.shape[1] == self.config.units):
            out = out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-12)
        return out[0] if isinstance(texts, str) else out

    @overload
    def encode_sparse(self, texts: str, *, batch_size: int = 32,  # type: ignore[overload-overlap]
                      prompt: str | None = None, prompt_name: str | None = None, max_active_dims: int | None = None,
                      show_progress_bar: bool = False) -> SparseVector: ...

    @overload
    def encode_sparse(self, texts: Sequence[str], *, batch_size: int = 32, prompt: str | None = None,
                      prompt_name: str | None = None, max_active_dims: int | None = None,
                      show_progress_bar: bool = False) -> list[SparseVector]: ...

    def encode_sparse(self, texts: str | Sequence[str], *, batch_size: int = 32, prompt: str | None = None,
                      prompt_name: str | None = None, max_active_dims: int | None = None,
                      show_progress_bar: bool = False) -> SparseVector | list[SparseVector]:
        """The weights of words that each text has: a :class:`SparseVector`, or a list of them for several texts.

        ``max_active_dims`` keeps the heaviest of them; the other arguments are those of :meth:`encode`.
        """
        many = given.texts(texts)
        given.switch("show_progress_bar", show_progress_bar, (None,))
        if self.head.kind != "sparse":
            raise UsageError(f"this is a {self.head.kind} model and gives no weights of words; load a model with a "
                             "head of masked words with kind='sparse'.")
        if max_active_dims is not None:
            given.whole_number("max_active_dims", max_active_dims)
        rows = self.tokenizer.encode(with_prompt(self.sentence.prompt(prompt, prompt_name), many),
                                     max_length=self.max_length)
        found = self._run_shown(rows, batch_size, show_progress_bar, lambda row: SparseVector.of(row, max_active_dims))
        return found[0] if isinstance(texts, str) else found

    def encode_tokens(self, texts: Sequence[str], *, is_query: bool, batch_size: int = 32, normalize: bool = True,
                      prompt: str | None = None, prompt_name: str | None = None, show_progress_bar: bool = False,
                      ) -> list[np.ndarray]:
        """The vectors of each text's tokens for late interaction, float32, (tokens, width) per text.

        Those of documents are without the tokens that the model leaves out, such as punctuation.

        Parameters
        ----------
        is_query : whether the texts are queries or documents, whose marks and lengths differ
        normalize : vectors of length 1

        Raises
        ------
        UsageError
            The model has no vectors for tokens, or lengthens queries with [MASK] in a way that the engine does not
            compute.
        """
        late = self.sentence.late
        if late is None:
            raise UsageError("this model has no vectors of tokens for late interaction; use encode().")
        given.switch("is_query", is_query)
        given.switch("normalize", normalize)
        put = self.sentence.prompt(prompt, prompt_name)
        rows, kept = late_rows.rows(with_prompt(put, given.texts(texts)), self.tokenizer, late, is_query,
                                    self.config.max_length)
        found = []
        for states, places in zip(self._run_shown(rows, batch_size, show_progress_bar), kept, strict=True):
            vectors = self.sentence.finish(states[places])
            found.append(scaled(vectors) if normalize else vectors)
        return found

    def _run_shown(self, encodings: Sequence[Any], batch_size: int, shown: bool,
                   made: Callable[[np.ndarray], Any] | None = None) -> list[Any]:
        """As :meth:`run`, under a bar where that is wanted, and with what is ``made`` of each row in its place; a row's
        numbers are the same in any batch."""
        if not shown and made is None:
            return self.run(encodings, batch_size)
        from bertpass.progress import Bar

        rows: list[Any] = []
        step = 16 * given.whole_number("batch_size", batch_size)
        with Bar("embedding", len(encodings), "texts") if shown else contextlib.nullcontext() as bar:
            for start in range(0, len(encodings), step):
                found = self.run(encodings[start:start + step], batch_size)
                rows += found if made is None else map(made, found)
                if bar is not None:
                    bar.advance(len(found))
        return rows

    @overload  # a str is a sequence of str too
    def predict(self, texts: str, pairs: str | None = None, *,  # type: ignore[overload-overlap]
                batch_size: int = 32,
                threshold: float = 0.5) -> Prediction: ...

    @overload
    def predict(self, texts: Sequence[str], pairs: Sequence[str] | None = None, *, batch_size: int = 32,
                threshold: float = 0.5) -> list[Prediction]: ...

    def predict(self, texts: str | Sequence[str], pairs: str | Sequence[str] | None = None, *, batch_size: int = 32,
                threshold: float = 0.5) -> Prediction | list[Prediction]:
        """Label and scores of each text (or pair): a :class:`Prediction`, or a list of them for a list of texts.

        Scores are what the model's activation makes of its logits (softmax, sigmoid, or the logits themselves).
        A multi-label model gives every label whose probability is above ``threshold``.
        """
        if not self.head.has_classifier:
            raise UsageError(f"this model has no classifier (its head is '{self.head.kind}'); "
                             + (f"use {self._use()}." if self.head.has_token_logits or self.head.kind in WORD_KINDS else
                                "fine-tune one with bertpass finetune classifier."))
        if pairs is not None and isinstance(texts, str) != isinstance(pairs, str):
            raise UsageError("give one text with one pair, or lists of the same length.")
        many = with_prompt(self.sentence.prompt(), given.texts(texts))
        encodings = self.tokenizer.encode(many, pairs=None if pairs is None else given.texts(pairs, "pairs"),
                                          max_length=self.max_length)
        out = [results.prediction(self.head, self.labels, row, threshold) for row in self.run(encodings, batch_size)]
        return out[0] if isinstance(texts, str) else out

    def rerank(self, query: str, passages: Sequence[str], *, batch_size: int = 32) -> list[Ranked]:
        """The passages by their relevance to a query, the most relevant first; equal ones in the order given."""
        if self.head.kind != "ranking":
            raise UsageError(f"this model ranks no passages (its head is '{self.head.kind}'); fine-tune one with "
                             "bertpass finetune classifier --task_name SQuAD-rerank, or --task_kind ranking.")
        if not isinstance(query, str):
            raise UsageError(f"query must be a text, not {type(query).__name__}.")
        if isinstance(passages, str):
            raise UsageError("passages must be a list of texts, not one text.")
        many = given.texts(passages, "passages", "a list of texts")
        scores = [p.score for p in self.predict([query] * len(many), many, batch_size=batch_size)]
        return [Ranked(at, scores[at]) for at in sorted(range(len(scores)), key=lambda at: -scores[at])]

    @overload
    def tag(self, texts: str, *, batch_size: int = 32) -> list[Entity]: ...  # type: ignore[overload-overlap]

    @overload
    def tag(self, texts: Sequence[str] | Sequence[Sequence[str]], *, batch_size: int = 32) -> list[list[Entity]]: ...

    def tag(self, texts: str | Sequence[str] | Sequence[Sequence[str]], *,
            batch_size: int = 32) -> list[Entity] | list[list[Entity]]:
        """The entities of each text: a list of :class:`Entity`, or a list of these for several texts.

        A text is a string, or a list of words, whose entities then have the characters of the words joined by spaces.
        Words are what the training data has: here runs of letters and digits with their marks, ideographs, and every
        other sign for itself (:func:`bertpass.text.data.tagging.split_words`). Each takes the tag of its first token;
        texts longer than the model are tagged in parts.
        """
        if self.head.kind != "tokens":
            raise UsageError(f"this model tags no words (its head is '{self.head.kind}'); fine-tune one with "
                             "bertpass finetune classifier --task_kind tokens.")
        many = given.texts(texts)
        plain = [text if isinstance(text, str) else " ".join(text) for text in many]
        spans = [tagging.split_words(text) if isinstance(text, str) else tagging.word_spans(text) for text in many]
        if self.tokenizer.family != "wordpiece" and all(isinstance(text, str) for text in many):
            rows = tagging.text_rows(plain, spans, self.tokenizer, self.max_length)
        else:
            words = [[text[start:end] for start, end in places] for text, places in zip(plain, spans, strict=True)]
            rows = tagging.tag_rows(words, self.tokenizer, self.max_length)
        outputs = self.run(rows, batch_size)
        own: list[list[int]] = [[] for _ in many]
        for at, row in enumerate(rows):
            own[row.sentence].append(at)
        labels = self.labels or placeholders(self.head.num_labels)
        found = [results.entities_of([rows[i] for i in at], [outputs[i] for i in at], labels, text, places)
                 for at, text, places in zip(own, plain, spans, strict=True)]
        return found[0] if isinstance(texts, str) else found

    def _use(self) -> str:
        """The method for this model's head."""
        return {"qa": "answer()", "tokens": "tag()", "ranking": "rerank()", "mlm": "forward()",
                "sparse": "encode_sparse()"}.get(self.head.kind, "predict()")

    @property
    def max_question_length(self) -> int:
        """Tokens to which :meth:`answer` cuts a question: 64, or as many as leave room for one of the context."""
        return min(64, self.max_length - self.tokenizer.special_count(pair=True) - 1)

    @overload
    def answer(self, question: str, context: str, *, max_answer_length: int = 30,  # type: ignore[overload-overlap]
               doc_stride: int = 128, version_2: bool = False, null_score_diff_threshold: float = 0.0,
               align_to_words: bool = True) -> Answer: ...

    @overload
    def answer(self, question: Sequence[str], context: Sequence[str], *, max_answer_length: int = 30,
               doc_stride: int = 128, version_2: bool = False, null_score_diff_threshold: float = 0.0,
               align_to_words: bool = True) -> list[Answer]: ...

    def answer(self, question: str | Sequence[str], context: str | Sequence[str], *, max_answer_length: int = 30,
               doc_stride: int = 128, version_2: bool = False, null_score_diff_threshold: float = 0.0,
               align_to_words: bool = True) -> Answer | list[Answer]:
        """The span of ``context`` that answers ``question``; any length of context (windows with a stride). A list of
        questions, each with its context, has a list of answers.

        It has whole words at its ends, as transformers' pipeline gives it; without ``align_to_words`` whole tokens.
        Of a question the first :attr:`max_question_length` tokens are read.
        With ``version_2`` the answer is empty where the score of "no answer" is higher by more than the threshold.
        """
        if self.head.kind != "qa":
            raise UsageError(f"this model answers no questions (its head is '{self.head.kind}'); fine-tune one with "
                             "bertpass finetune squad.")
        questions: list[Any] = [question]
        contexts: list[Any] = [context]
        if several := isinstance(question, (list, tuple)):
            if not isinstance(context, (list, tuple)) or len(context) != len(question):
                raise UsageError("a list of questions needs a list of as many contexts.")
            questions, contexts = list(question), list(context)
        for name, texts in (("question", questions), ("context", contexts)):
            for text in texts:
                if not isinstance(text, str):
                    raise UsageError(f"{name} must be a text, not {type(text).__name__}.")
        from bertpass.text.squad import Question, best_answers, make_windows  # other models do without

        asked = [Question("question", one, other, None) for one, other in zip(questions, contexts, strict=True)]
        windows = make_windows(asked, self.tokenizer, max_seq_length=self.max_length, doc_stride=doc_stride,
                               max_query_length=self.max_question_length)
        logits = self.run(windows)
        words = [self.tokenizer.words(each) for each in contexts] if align_to_words else None
        best = best_answers(asked, windows, logits, n_best_size=20, max_answer_length=max_answer_length,
                            version_2=version_2, null_score_diff_threshold=null_score_diff_threshold, words=words)
        answers = [Answer(each.text, each.probability, each.start, each.end) for each in best]
        return answers if several else answers[0]

    def close(self) -> None:
        """Give back what the engine holds."""
        self.engine.close()

    def __enter__(self) -> Model:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        about = self.engine.describe()
        labels = f", {len(self.labels)} labels" if self.labels else ""
        return (f"<bertpass.Model {self.source or 'in memory'}: {self.config.family}, {self.config.num_layers} layers "
                "x "
                f"{self.config.units}, head {self.head.kind}{labels}, {self.engine.name} engine, "
                f"{about.get('dtype', 'float32')}>")

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled as what loads it again; UsageError where it was made in memory."""
        if self._loading is None:
            raise UsageError("this model was made in memory and cannot be pickled or copied; write it to a folder, and "
                             "load it from there with bertpass.load.")
        return _again, (self._loading,)


def _again(loading: Callable[[], Model]) -> Model:
    """The model that a pickle stands for."""
    return loading()


def with_prompt(prompt: str, texts: list[str]) -> list[str]:
    """The prompt in front of every text; what is no text is left to the tokenizer to refuse."""
    return [prompt + text if isinstance(text, str) else text for text in texts] if prompt else texts


def _array(name: str, values: Any) -> np.ndarray:
    """Numbers as an array; UsageError where the rows differ in length or something is no number."""
    try:
        array = np.asarray(values)
    except ValueError:
        array = np.empty(0, object)
    if array.dtype.kind not in "iuf":
        raise UsageError(f"{name} must be an array of whole numbers: rows of one length, padded.")
    return array
