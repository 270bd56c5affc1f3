"""Whole folders as people have them, of several families: those that the installed sentence-transformers saves, and the
same in the layout of its version 3.

The library opens each, and what is written of it here, with the same outputs, prompts and limits.
"""

import json

import numpy as np
import pytest

import bertpass
from bertpass.model.layouts.huggingface import read_folder, write_folder
from tests.helpers.small_tokenizers import TEXTS as SCRIPTS
from tests.helpers.small_tokenizers import save
from tests.helpers.tiny_models import torch_model

REASON = "pip install 'bertpass[reference]' to compare with sentence-transformers"
library = pytest.importorskip("sentence_transformers", reason=REASON)
torch = pytest.importorskip("torch", reason=REASON)
TEXTS = [SCRIPTS[name] for name in ("Latin", "Cyrillic", "several", "empty")] + ["Anna " * 40, "THE FERRY"]
PAIRS = [(TEXTS[0], TEXTS[1]), (TEXTS[2], TEXTS[4]), ("", TEXTS[0])]
PROMPTS = {"prompts": {"query": "Anna: ", "passage": "late "}, "default_prompt_name": "passage"}
UNITS, TOLERANCE = 24, 1e-5


def pool(*modes, **more):
    from sentence_transformers.sentence_transformer.modules import Pooling

    return Pooling(UNITS, modes[0] if len(modes) == 1 else modes, **more)


def dense(units, activation, **more):
    from sentence_transformers.base.modules import Dense

    torch.manual_seed(5)
    return Dense(units, 9, activation_function=activation, init_weight=torch.randn(9, units) * 0.3, **more)


def unit():
    from sentence_transformers.sentence_transformer.modules import Normalize

    return Normalize()


#: tokenizer, family, tokens, modules after the encoder, settings
VECTORS = {
    "mean": ("BERT", "bert", 20, lambda: [pool("mean"), unit()], {}),
    "cls, prompts": ("XLM-R", "xlm-roberta", 18, lambda: [pool("cls"), unit()], PROMPTS),
    "max": ("RoBERTa", "roberta", 16, lambda: [pool("max")], {}),
    "mean_sqrt_len_tokens": ("CamemBERT", "camembert", 30, lambda: [pool("mean_sqrt_len_tokens")], PROMPTS),
    "weightedmean, prompt left out": ("BERT", "electra", 22, lambda: [pool("weightedmean", include_prompt=False),
                                                                     unit()], PROMPTS),
    "lasttoken": ("BERT with case", "bert", None, lambda: [pool("lasttoken")], {}),
    "mean, prompt left out": ("XLM-R", "xlm-roberta", 25, lambda: [pool("mean", include_prompt=False)], PROMPTS),
    "several poolings, Dense": ("BERT", "bert", 17, lambda: [pool("cls", "max", "mean"), dense(3 * UNITS,
                                                                                             torch.nn.Tanh())], {}),
    "Dense without bias": ("RoBERTa", "roberta", 21, lambda: [pool("mean"), dense(UNITS, torch.nn.Identity(),
                                                                                  bias=False), unit()], PROMPTS),
    "narrower": ("CamemBERT", "camembert", 12, lambda: [pool("mean"), unit()], {"truncate_dim": 7, **PROMPTS}),
}
CROSS = {"one label": ("BERT", "bert", 1), "three labels": ("XLM-R", "xlm-roberta", 3)}


def encoder(folder, kind, family, suffix="Model", **fields):
    tokenizer = save(folder, kind, model_max_length=60)
    torch_model(family, suffix, vocab_size=max(tokenizer.get_vocab().values()) + 1, max_position_embeddings=66,
                **fields).save_pretrained(folder)
    return str(folder)


def vectors(path, name):
    """The folder that the library saves of a model of vectors."""
    from sentence_transformers.base.modules import Transformer

    kind, family, length, after, settings = VECTORS[name]
    first = Transformer(encoder(path / "plain", kind, family), max_seq_length=length)
    library.SentenceTransformer(modules=[first, *after()], device="cpu", **settings).save(str(path / "theirs"))
    return path / "theirs"


def change(path, **fields):
    content = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps({**content, **fields}))


def in_version_3(path, length, lower=False):
    """The folder's files as sentence-transformers 3.0 and 3.4 write them, whose saved folders these were compared with:
    the length in a file, the poolings as booleans, fewer settings, the modules under their older names."""
    modules = json.loads((path / "modules.json").read_text())
    for module in modules:
        module["type"] = "sentence_transformers.models." + module["type"].rpartition(".")[2]
    (path / "modules.json").write_text(json.dumps(modules))
    change(path / "tokenizer_config.json", model_max_length=60)
    (path / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": length, "do_lower_case": lower}))
    said = json.loads((path / "config_sentence_transformers.json").read_text())
    kept = {key: said[key] for key in ("prompts", "default_prompt_name", "truncate_dim") if key in said}
    (path / "config_sentence_transformers.json").write_text(json.dumps({
        "__version__": {"sentence_transformers": "3.4.1", "transformers": "4.48.0", "pytorch": "2.5.1"}, **kept,
        "similarity_fn_name": "cosine"}))
    pooling = json.loads((path / "1_Pooling" / "config.json").read_text())
    modes = [pooling["pooling_mode"]] if isinstance(pooling["pooling_mode"], str) else pooling["pooling_mode"]
    names = {"cls": "cls_token", "mean": "mean_tokens", "max": "max_tokens",
             "mean_sqrt_len_tokens": "mean_sqrt_len_tokens", "weightedmean": "weightedmean_tokens",
             "lasttoken": "lasttoken"}
    (path / "1_Pooling" / "config.json").write_text(json.dumps({
        "word_embedding_dimension": UNITS, **{f"pooling_mode_{key}": mode in modes for mode, key in names.items()},
        "include_prompt": pooling["include_prompt"]}))
    for place in path.glob("*_Dense/config.json"):
        content = json.loads(place.read_text())
        place.write_text(json.dumps({key: content[key] for key in (
            "in_features", "out_features", "bias", "activation_function")}))
    for place in path.glob("*_Normalize/config.json"):
        place.unlink()


def near(found, wanted):
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max() <= TOLERANCE * max(1.0, np.abs(wanted).max())


def compare(path, wanted):
    """Ours and the library's of one folder; ``wanted`` are the vectors of the texts, of queries and of documents."""
    ours, theirs = bertpass.SentenceEncoder(path, threads=1), library.SentenceTransformer(str(path), device="cpu")
    for model in (ours, theirs):
        for function, right in zip((model.encode, model.encode_query, model.encode_document), wanted, strict=True):
            near(function(TEXTS), right)
    for name in ("max_seq_length", "prompts", "default_prompt_name", "truncate_dim", "similarity_fn_name"):
        assert getattr(ours, name) == getattr(theirs, name), name
    assert not ours.model.notes
    return ours


@pytest.mark.parametrize("layout", ["installed", "version 3"])
@pytest.mark.parametrize("name", VECTORS)
def test_vectors(tmp_path, name, layout):
    path, length = vectors(tmp_path, name), VECTORS[name][2] or 60
    theirs = library.SentenceTransformer(str(path), device="cpu")
    wanted = [function(TEXTS) for function in (theirs.encode, theirs.encode_query, theirs.encode_document)]
    if layout == "version 3":
        in_version_3(path, length)
    ours = compare(path, wanted)
    assert ours.max_seq_length == length
    write_folder(tmp_path / "ours", read_folder(path))
    again = compare(tmp_path / "ours", wanted)
    assert again.max_seq_length == length
    assert np.array_equal(again.encode(TEXTS), ours.encode(TEXTS))


def test_lower_case_of_version_3(tmp_path):
    path = vectors(tmp_path, "lasttoken")
    in_version_3(path, 14, lower=True)
    theirs = library.SentenceTransformer(str(path), device="cpu")
    wanted = [function(TEXTS) for function in (theirs.encode, theirs.encode_query, theirs.encode_document)]
    assert np.array_equal(theirs.encode("THE FERRY"), theirs.encode("the ferry"))
    compare(path, wanted)
    write_folder(tmp_path / "ours", read_folder(path))
    assert compare(tmp_path / "ours", wanted).max_seq_length == 14


@pytest.mark.parametrize("layout", ["installed", "version 3"])
@pytest.mark.parametrize("name", CROSS)
def test_cross_encoders(tmp_path, name, layout):
    """Version 3 saved a plain folder of transformers, and kept neither the length nor the activation apart."""
    kind, family, outputs = CROSS[name]
    theirs = library.CrossEncoder(encoder(tmp_path / "plain", kind, family, "ForSequenceClassification",
                                          num_labels=outputs), max_length=19, device="cpu")
    theirs.save_pretrained(str(tmp_path / "theirs"))
    if layout == "version 3":
        for file in ("modules.json", "sentence_bert_config.json", "config_sentence_transformers.json"):
            (tmp_path / "theirs" / file).unlink()
        change(tmp_path / "theirs" / "tokenizer_config.json", model_max_length=19)
    wanted = theirs.predict(PAIRS)
    write_folder(tmp_path / "ours", read_folder(tmp_path / "theirs"))
    for path in (tmp_path / "theirs", tmp_path / "ours"):
        ours, again = bertpass.CrossEncoder(path, threads=1), library.CrossEncoder(str(path), device="cpu")
        near(ours.predict(PAIRS), wanted)
        near(again.predict(PAIRS), wanted)
        assert ours.max_seq_length == again.max_seq_length == 19
