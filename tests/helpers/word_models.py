"""Folders of models with a head of masked words, as transformers and sentence-transformers save them."""

import pytest

from tests.helpers.tiny_models import torch_model, write_vocab

library = pytest.importorskip("sentence_transformers", reason="pip install 'bertpass[reference]' to compare with "
                              "sentence-transformers")


def plain(folder, family="bert", seed=0):
    """A folder as transformers saves it, with a head of masked words."""
    import transformers

    write_vocab(folder / "vocabulary")
    torch_model(family, "ForMaskedLM", seed=seed).save_pretrained(folder)
    kind = transformers.DistilBertTokenizerFast if family == "distilbert" else transformers.BertTokenizerFast
    kind(vocab_file=str(folder / "vocabulary" / "vocab.txt"), model_max_length=16).save_pretrained(folder)
    return folder


def saved(path, source, strategy="max", function="relu", **settings):
    """A folder that the library saved."""
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.sparse_encoder.modules import SpladePooling

    modules = [Transformer(str(source), transformer_task="fill-mask"), SpladePooling(strategy, function)]
    library.SparseEncoder(modules=modules, device="cpu", **settings).save_pretrained(str(path))
    return path
