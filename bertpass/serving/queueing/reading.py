"""A tokenizer that reads a text once per request, however often the request's work asks for its tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bertpass.errors import DataError
from bertpass.text.tokens.tokenizer import Pieces, Tokenizer


class ReadOnce(Tokenizer):
    """The tokenizer of a model, with a memory of the texts that were read.

    Whether texts are too long is found out before they are encoded, and a re-ranker's query is part of every row: none
    of that reads a text again.

    Parameters
    ----------
    memory
        Where the texts of the present request are kept.
    """

    def __init__(self, tokenizer: Tokenizer, memory: Callable[[], dict[str, Pieces]]) -> None:
        vars(self).update(vars(tokenizer))
        self._memory = memory

    def pieces(self, texts: Sequence[str]) -> list[Pieces]:
        """See :meth:`Tokenizer.pieces`."""
        memory = self._memory()
        if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
            return super().pieces(texts)  # which refuses them
        new = [text for text in dict.fromkeys(texts) if text not in memory]
        if new:
            try:
                memory.update(zip(new, super().pieces(new), strict=True))
            except DataError:
                super().pieces(texts)  # refuses them by the place that the text has here
                raise
        return [memory[text] for text in texts]
