"""GluonNLP's own networks save, ours load: same names, same outputs; and the other way round."""

import hashlib
import shutil

import numpy as np
import pytest

from bertpass.errors import ModelError
from bertpass.model import nets
from bertpass.model.config import CLASSIFIERS, EncoderConfig, HeadConfig
from bertpass.model.files import params_file
from bertpass.model.layouts import gluonnlp
from bertpass.text.tokens.tokenizer import Tokenizer
from tests.helpers.tiny_models import POSITIONS, VOCAB, ragged_batch, run, same_arrays

SIZE = {"num_layers": 2, "units": 24, "hidden_size": 40, "num_heads": 4, "max_length": POSITIONS, "embed_size": 24}
NAMES = {"bert": "bert_12_768_12", "distilbert": "distilbert_6_768_12", "roberta": "roberta_12_768_12"}


def gluon_model(family, **arguments):
    """GluonNLP's get_model for a tiny size; every parameter random."""
    from bertpass.mx import nlp

    vocab = nlp.vocab.BERTVocab({f"w{i}": 1 for i in range(VOCAB - 5)})
    assert len(vocab) == VOCAB
    if family == "distilbert":
        arguments["layer_norm_eps"] = 1e-12  # the model's own; GluonNLP's default there is 1e-5
    net, _ = nlp.model.get_model(NAMES[family], dataset_name=None, vocab=vocab, pretrained=False,
                                 hparam_allow_override=True, **SIZE, **arguments)
    return net


def randomize(net, seed=0):
    from bertpass.mx import mx

    random = np.random.default_rng(seed)
    if seed == 0:
        net.initialize()
        run_once(net)
    for name, parameter in net.collect_params().items():
        values = random.normal(1.0 if name.endswith("gamma") else 0.0, 0.3, parameter.shape)
        parameter.set_data(mx.nd.array(values, dtype="float32"))


def run_once(net, batch=None):
    from bertpass.mx import mx

    ids, types, lengths = batch or ragged_batch("bert")
    three = "roberta" not in net.name and "distilbert" not in net.name
    outputs = net(*[mx.nd.array(a) for a in ([ids, types, lengths] if three else [ids, lengths])])
    return [o.asnumpy() for o in (outputs if isinstance(outputs, (list, tuple)) else [outputs])]


def our_outputs(checkpoint, batch):
    net = nets.build(checkpoint.config, checkpoint.head)
    nets.set_parameters(net, checkpoint.params)
    return run(net, checkpoint.config, *batch)


@pytest.mark.parametrize("dropout", [0.1, 0.0], ids=["dropout", "no-dropout"])
@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_classifiers_of_gluonnlp_load_unchanged(tmp_path, family, dropout):
    from bertpass.mx import nlp

    if family == "bert":
        net = nlp.model.BERTClassifier(gluon_model("bert", use_decoder=False, use_classifier=False), num_classes=3,
                                       dropout=dropout)
    else:
        net = nlp.model.RoBERTaClassifier(gluon_model("roberta", use_decoder=False), num_classes=3, dropout=dropout)
    randomize(net)
    net.save_parameters(str(tmp_path / "net.params"))
    checkpoint = gluonnlp.read(tmp_path / "net.params", num_heads=4, classifier="classification")
    assert checkpoint.config.family == family and checkpoint.head == HeadConfig("classification", num_labels=3)
    batch = ragged_batch(family, seed=2)
    expected = run_once(net, batch)[0]
    assert np.array_equal(our_outputs(checkpoint, batch)[0], expected)
    if dropout:
        same_arrays(checkpoint.params, params_file.read(tmp_path / "net.params"))
        gluonnlp.write(tmp_path / "again.params", checkpoint)
        randomize(net, seed=9)
        net.load_parameters(str(tmp_path / "again.params"))
        assert np.array_equal(run_once(net, batch)[0], expected)


@pytest.mark.parametrize("family", list(NAMES))
def test_encoders_of_gluonnlp_load_unchanged(tmp_path, family):
    net = gluon_model(family, **({"use_decoder": False, "use_classifier": False} if family == "bert" else
                                 {"use_decoder": False} if family == "roberta" else {}))
    randomize(net)
    net.save_parameters(str(tmp_path / "net.params"))
    checkpoint = gluonnlp.read(tmp_path / "net.params", num_heads=4, family=family)
    assert checkpoint.config.family == family and checkpoint.head == HeadConfig("none")
    batch = ragged_batch(family, seed=2)
    expected = run_once(net, batch)
    assert np.array_equal(our_outputs(checkpoint, batch)[0], expected[0])
    if family == "bert":
        checkpoint.head = HeadConfig("pooled")
        assert np.array_equal(our_outputs(checkpoint, batch)[1], expected[1])
    gluonnlp.write(tmp_path / "again.params", checkpoint)
    same_arrays(params_file.read(tmp_path / "again.params"), params_file.read(tmp_path / "net.params"))


def test_heads_of_pretraining_are_ignored_with_a_note(tmp_path):
    from bertpass.mx import mx

    net = gluon_model("bert")
    net.initialize()
    ids, types, lengths = (mx.nd.array(array) for array in ragged_batch("bert"))
    net(ids, types, lengths, mx.nd.zeros((4, 1)))
    net.save_parameters(str(tmp_path / "net.params"))
    checkpoint = gluonnlp.read(tmp_path / "net.params", num_heads=4)
    assert checkpoint.head.kind == "none" and checkpoint.config.use_pooler
    assert "ignored 8 parameters of pretraining" in checkpoint.notes[0]


@pytest.mark.parametrize("family", list(NAMES))
@pytest.mark.parametrize("kind", ["none", "classification", "regression", "multilabel", "ranking", "tokens", "qa"])
def test_written_and_read_again(tmp_path, tiny, family, kind):
    checkpoint = tiny(family, kind)
    gluonnlp.write(tmp_path / "net.params", checkpoint)
    again = gluonnlp.read(tmp_path / "net.params", config=checkpoint.config,
                          classifier=kind if kind in CLASSIFIERS else "classification")
    assert (again.config, again.head) == (checkpoint.config, checkpoint.head)
    same_arrays(again.params, checkpoint.params)


def test_everything_inferred_but_the_heads(tmp_path, tiny):
    checkpoint = tiny("bert", "none", units=768, num_heads=12, num_layers=1)
    gluonnlp.write(tmp_path / "net.params", checkpoint)
    assert gluonnlp.read(tmp_path / "net.params").config == checkpoint.config


def test_vocabulary(tmp_path, tiny, vocab_folder):
    checkpoint = tiny()
    shutil.copytree(vocab_folder, tmp_path / "folder")
    vocab_folder = tmp_path / "folder"
    checkpoint.tokenizer.save(vocab_folder)
    gluonnlp.write(tmp_path / "net.params", checkpoint)
    checkpoint.tokenizer.save_gluonnlp_vocab(tmp_path / "tiny_uncased.vocab")
    for vocab in (tmp_path / "tiny_uncased.vocab", vocab_folder, vocab_folder / "vocab.txt",
                  vocab_folder / "tokenizer.json"):
        again = gluonnlp.read(tmp_path / "net.params", num_heads=4, vocab=vocab, classifier="classification")
        assert again.tokenizer.tokens == checkpoint.tokenizer.tokens and again.tokenizer.lower
    assert not gluonnlp.read_vocabulary(tmp_path / "tiny_uncased.vocab", lower=False).lower


def test_case_by_the_words_where_the_name_does_not_say(tmp_path):
    for words, lower in ((["paris", "##s"], True), (["Paris", "##s"], False)):
        tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]
        Tokenizer.from_wordpiece(tokens, lower).save_gluonnlp_vocab(tmp_path / "net.vocab")
        assert gluonnlp.read_vocabulary(tmp_path / "net.vocab").lower == lower
        shutil.copy(tmp_path / "net.vocab", tmp_path / "wiki_uncased.vocab")
        assert gluonnlp.read_vocabulary(tmp_path / "wiki_uncased.vocab").lower


def spoiled(tmp_path, checkpoint, change):
    gluonnlp.write(tmp_path / "net.params", checkpoint)
    arrays = params_file.read(tmp_path / "net.params")
    change(arrays)
    params_file.write(tmp_path / "net.params", arrays)
    return tmp_path / "net.params"


CELL = "bert.encoder.transformer_cells.1.proj"
FAULTS = {
    "no encoder": (lambda a: a.clear(), {}, "not a checkpoint of a GluonNLP encoder"),
    "missing": (lambda a: a.pop(f"{CELL}.bias"), {}, "transformer_cells.1.proj.bias' is missing"),
    "extra": (lambda a: a.update({"bert.adapter.weight": a[f"{CELL}.bias"]}), {}, "'bert.adapter.weight' is not part"),
    "misshapen": (lambda a: a.update({f"{CELL}.bias": a[f"{CELL}.bias"][:5]}), {}, r"has shape \(5,\)"),
    "not a matrix": (lambda a: a.update({"bert.word_embed.0.weight": a[f"{CELL}.bias"]}), {}, "not a matrix"),
    "layer missing": (lambda a: [a.pop(k) for k in list(a) if ".transformer_cells.1." in k] and a.update(
        {"bert.encoder.transformer_cells.7.proj.bias": a["bert.pooler.bias"]}), {}, "missing"),
    "heads unknown": (lambda a: None, {"num_heads": None}, "number of attention heads cannot be told from 24 units"),
    "heads do not divide": (lambda a: None, {"num_heads": 5}, "multiple of num_heads"),
    "no such family": (lambda a: None, {"family": "bort"}, "unknown encoder family 'bort'. Did you mean 'bert'"),
    "other size": (lambda a: None, {"config": EncoderConfig(num_layers=3, units=24, num_heads=4)}, "missing"),
}


@pytest.mark.parametrize("change, arguments, words", FAULTS.values(), ids=FAULTS)
def test_faulty_files(tmp_path, tiny, change, arguments, words):
    path = spoiled(tmp_path, tiny(), change)
    with pytest.raises(ModelError, match=words) as caught:
        gluonnlp.read(path, **{"num_heads": 4, "classifier": "classification", **arguments})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("units", [384, 64])
def test_heads_of_a_width_that_is_not_published(tmp_path, tiny, units):
    gluonnlp.write(tmp_path / "net.params", tiny(units=units, num_heads=1))
    with pytest.raises(ModelError, match=r"give --num_heads \(MiniLM has 12\)"):
        gluonnlp.read(tmp_path / "net.params")


def test_cache(tmp_path, monkeypatch, tiny):
    monkeypatch.setenv("MXNET_HOME", f"{tmp_path}\n")  # as a file gives a variable
    assert gluonnlp.cached("bert_12_768_12") is None and gluonnlp.cache_folder() == tmp_path / "models"
    models = tmp_path / "models"
    models.mkdir()
    gluonnlp.write(tmp_path / "x", tiny(kind="none"))
    content = (tmp_path / "x").read_bytes()
    start = hashlib.sha1(content).hexdigest()[:8]
    path = models / f"bert_12_768_12_book_corpus_wiki_en_uncased-{start}.params"
    path.write_bytes(content)
    assert gluonnlp.cached("bert_12_768_12") == (path, None)
    vocabulary = b'{"idx_to_token": []}'
    vocab = models / f"book_corpus_wiki_en_uncased-{hashlib.sha1(vocabulary).hexdigest()[:8]}.vocab"
    vocab.write_bytes(vocabulary)
    assert gluonnlp.cached("bert_12_768_12", "book_corpus_wiki_en_uncased") == (path, vocab)
    assert gluonnlp.cached("bert_12_768_12", "wiki_cn_cased") is None
    path.write_bytes(content[:-1])
    with pytest.raises(ModelError, match="damaged"):
        gluonnlp.cached("bert_12_768_12")
