"""What the tests of families of encoders have in common: outputs of transformers, differences, what refuses them."""

import importlib.util

import numpy as np
import pytest

import bertpass
from bertpass.errors import ModelError
from bertpass.model.export import export_bundle
from bertpass.model.layouts import gluonnlp
from bertpass.model.layouts.huggingface import write_folder
from tests.helpers.tiny_models import VOCAB, torch_outputs

#: end of a class's name -> fields of its configuration
SUFFIXES = {"Model": {}, "ForSequenceClassification": {"num_labels": 3}, "ForTokenClassification": {"num_labels": 5},
            "ForQuestionAnswering": {}}
TOLERANCE = 1e-5
#: of a batch in whose longest row keys are farther away than the last range of distances begins
LENGTHS = [170, 1, 30, 2, 131]


def long_batch(pad):
    """ids, token types of zeros, valid lengths: rows of :data:`LENGTHS`, padded with ``pad``."""
    ids = np.random.default_rng(5).integers(5, VOCAB, (len(LENGTHS), max(LENGTHS))).astype("int32")
    lengths = np.array(LENGTHS, "int32")
    ids[np.arange(ids.shape[1]) >= lengths[:, None]] = pad
    return ids, np.zeros_like(ids), lengths


def outputs(theirs, family, suffix, batch):
    """The one output of a transformers model as bertpass has it."""
    found = torch_outputs(theirs, family, *batch)
    return np.stack(found, axis=-1) if suffix == "ForQuestionAnswering" else found[0]


def largest(found, wanted, lengths):
    """Largest difference; of outputs per token on the tokens alone."""
    if found.ndim == 3:
        inside = np.arange(found.shape[1]) < lengths[:, None]
        found, wanted = found[inside], wanted[inside]
    assert found.shape == wanted.shape and found.size and np.abs(wanted).max() > 0.1
    return np.abs(found - wanted).max()


def refused_where_only_bert_is_computed(folder, checkpoint, words):
    """Whatever computes BERT's layers alone refuses the model in these words, and writes nothing into the folder."""
    folder.mkdir(exist_ok=True)
    with pytest.raises(ModelError, match=words):
        gluonnlp.write(folder / "x", checkpoint)
    with pytest.raises(ModelError, match=words):
        export_bundle(checkpoint, folder / "bundle")
    assert not list(folder.iterdir())
    write_folder(folder / "folder", checkpoint)
    for engine in ("mxnet", "tvm", "tensorflow"):
        if engine in ("tvm", "tensorflow") and importlib.util.find_spec(engine) is None:
            continue
        with pytest.raises(ModelError, match=words):
            bertpass.load(folder / "folder", engine)
