"""Folders of late-interaction models as the library of ColBERT's authors saves them (stanford-futuredata/ColBERT).

The encoder's files are Hugging Face's, the layer of the tokens' vectors stands among its tensors, and lengths and marks
stand in artifact.metadata. Texts become the same rows as PyLate's: the mark is the second token, queries are lengthened
with [MASK], and punctuation of documents has no vectors.
"""

from __future__ import annotations

import re
import string
from pathlib import Path
from typing import Any

import numpy as np

from bertpass import known_keys
from bertpass.errors import ModelError
from bertpass.model.config import EncoderConfig
from bertpass.model.files.folders import MODULES_FILE, read_object
from bertpass.model.layouts.sentence_transformers import Layout
from bertpass.model.sentence import KEYS, Late, Layer, Sentence

METADATA = "artifact.metadata"
_LINEAR = "linear.weight"
#: field of Late -> key of artifact.metadata and the library's default
_KEYS: dict[str, tuple[str, Any]] = {
    "query_prefix": ("query_token_id", "[unused0]"), "document_prefix": ("doc_token_id", "[unused1]"),
    "query_length": ("query_maxlen", 32), "document_length": ("doc_maxlen", 220),
    "attends": ("attend_to_mask_tokens", False)}


def layout(folder: Path) -> Layout | None:
    """The layout of such a folder, with the content of artifact.metadata as its settings; None for another one.

    ModelError where the file is damaged or asks for something that is not computed.
    """
    if not (folder / METADATA).is_file() or (folder / MODULES_FILE).is_file():
        return None
    content = read_object(folder / METADATA, "the settings of a ColBERT model")
    notes = known_keys.look(METADATA, content, str(folder / METADATA))
    return Layout(folder, settings=content, notes=notes, is_late=True)


def sentence(found: Layout, config: EncoderConfig, tensors: dict[str, np.ndarray]) -> Sentence:
    """What is done around the encoder; takes the layer's weights out of ``tensors``.

    ModelError where they are missing or do not fit, or a setting has a value that cannot be used.
    """
    said, path = found.settings, found.encoder / METADATA
    weight = tensors.pop(_LINEAR, None)
    if weight is None or weight.ndim != 2 or weight.shape[1] != config.units or len(weight) != said.get("dim", 128):
        shape = "none" if weight is None else f"one of shape {weight.shape}"
        raise ModelError(f"{found.encoder} has to hold '{_LINEAR}' of shape ({said.get('dim', 128)}, {config.units}), "
                         f"as {METADATA} and config.json say; it holds {shape}.")
    fields = {ours: default if said.get(theirs) is None else said[theirs] for ours, (theirs, default) in _KEYS.items()}
    masks = said.get("mask_punctuation")
    if masks not in (None, True, False):
        raise ModelError(f"{path} says mask_punctuation {masks!r}, which is neither true nor false.")
    try:
        late = Late(**fields, skipped=() if masks is False else tuple(string.punctuation))
    except ModelError as error:  # in the file's words
        names = {theirs: _KEYS[ours][0] for theirs, ours in KEYS.items() if ours in _KEYS}
        words = re.sub(r"\w+", lambda word: names.get(word[0], word[0]), str(error))
        raise ModelError(f"{path}: {words}") from error
    return Sentence(layers=(Layer("dense", arrays={"weight": np.array(weight, np.float32)}),), late=late)
