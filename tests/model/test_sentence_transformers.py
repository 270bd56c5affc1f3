"""Folders of sentence-transformers: each option of its classes, every generation's layout, there and back.

The library itself gives the right vectors and scores.
"""

import json
import shutil

import numpy as np
import pytest

import bertpass
from bertpass.errors import ModelError, UsageError
from bertpass.model.checkpoint import load_checkpoint
from bertpass.model.export import export_bundle
from bertpass.model.layouts import huggingface, packed
from bertpass.model.layouts.huggingface import read_folder, write_folder
from tests.helpers.tiny_models import POSITIONS, TINY, torch_model, write_vocab

REASON = "pip install 'bertpass[reference]' to compare with sentence-transformers"
library = pytest.importorskip("sentence_transformers", reason=REASON)
UNITS = TINY["bert"]["hidden_size"]
TEXTS = ["the film is good", "The Film is bad, un able", "w1 w2 w3 w4 w5 w6", "good " * 40, "un"]
PAIRS = [("the film is good", "w1 w2"), ("w3", "the film is bad " * 20)]
TOLERANCE = 5e-6  # of the largest number; the random weights are large


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """A plain folder of a random encoder with a cased tokenizer."""
    return plain_folder(tmp_path_factory.mktemp("encoder"), torch_model("bert", "Model"))


def plain_folder(folder, model, **tokenizer):
    import transformers

    write_vocab(folder / "vocabulary")
    model.save_pretrained(folder / "model")
    transformers.BertTokenizerFast(vocab_file=str(folder / "vocabulary" / "vocab.txt"), do_lower_case=False, **tokenizer
                                   ).save_pretrained(folder / "model")
    return folder / "model"


def saved(path, encoder, *after, transformer=None, **settings):
    """A folder that the library saved, with these modules after the encoder."""
    from sentence_transformers.base.modules import Transformer

    first = Transformer(str(encoder), **{"max_seq_length": 16, **(transformer or {})})
    library.SentenceTransformer(modules=[first, *after], device="cpu", **settings).save(str(path))
    return path


def ours(path):
    return bertpass.load(path, engine="native", dtype="float32", threads=1)


def theirs(path):
    return library.SentenceTransformer(str(path), device="cpu")


def assert_near(got, wanted):
    assert got.shape == wanted.shape
    assert np.abs(got - wanted).max() <= TOLERANCE * max(1.0, np.abs(wanted).max())


def compare(path, **arguments):
    """Compare the vectors of the texts; returns ours."""
    model = ours(path)
    got = model.encode(TEXTS, **arguments)
    assert_near(got, theirs(path).encode(TEXTS, **arguments))
    assert got.shape[1] == model.sentence.size(UNITS)
    return got


def pooling(*modes, **more):
    from sentence_transformers.sentence_transformer.modules import Pooling

    return Pooling(UNITS, modes[0] if len(modes) == 1 else modes, **more)


def dense(units=UNITS, out=7, activation=None, **more):
    import torch
    from sentence_transformers.base.modules import Dense

    torch.manual_seed(3)
    return Dense(units, out, activation_function=activation or torch.nn.Tanh(),
                 init_weight=torch.randn(out, units) * 0.3, init_bias=torch.randn(out), **more)


def norm(units=UNITS):
    import torch
    from sentence_transformers.sentence_transformer.modules import LayerNorm

    module = LayerNorm(units)
    torch.nn.init.normal_(module.norm.weight)
    torch.nn.init.normal_(module.norm.bias)
    return module


def other(name):
    from sentence_transformers.sentence_transformer import modules

    return getattr(modules, name)()


def torch_activation(name):
    import torch

    return getattr(torch.nn, name)()


MODULES = {
    **{mode: lambda mode=mode: [pooling(mode)] for mode in (
        "mean", "cls", "max", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")},
    "two modes": lambda: [pooling("cls", "max")],
    "two modes, another order": lambda: [pooling("weightedmean", "cls", "mean")],
    "one mode twice": lambda: [pooling("mean", "mean")],
    "normalize": lambda: [pooling("mean"), other("Normalize")],
    "max, normalize": lambda: [pooling("max"), other("Normalize")],
    "dense": lambda: [pooling("mean"), dense()],
    "dense without bias": lambda: [pooling("cls"), dense(bias=False)],
    **{f"dense {name}": lambda name=name: [pooling("mean"), dense(activation=torch_activation(name))]
       for name in ("Identity", "ReLU", "GELU", "Sigmoid")},
    "normalize, dense": lambda: [pooling("mean"), other("Normalize"), dense(), other("Normalize")],
    "two modes, dense": lambda: [pooling("mean", "max"), dense(2 * UNITS)],
    "norm": lambda: [pooling("mean"), norm()],
    "dense, norm": lambda: [pooling("lasttoken"), dense(), norm(7)],
    "dropout": lambda: [pooling("mean"), other("Dropout")],
}


IN_BUNDLES = ("normalize", "two modes, another order", "dense without bias", "dense, norm")


@pytest.mark.parametrize("name", list(MODULES))
def test_modules(tmp_path, encoder, name):
    """As the library's vectors; and again after a bundle, a packed file and a folder were written of it."""
    saved(tmp_path / "theirs", encoder, *MODULES[name]())
    wanted = compare(tmp_path / "theirs")
    checkpoint = read_folder(tmp_path / "theirs")
    assert not checkpoint.notes
    packed.write(tmp_path / "packed.safetensors", checkpoint, "float32")
    assert np.array_equal(ours(tmp_path / "packed.safetensors").encode(TEXTS), wanted)
    if name in IN_BUNDLES:
        export_bundle(checkpoint, tmp_path / "bundle")
        assert np.array_equal(ours(tmp_path / "bundle").encode(TEXTS), wanted)
        checkpoint = load_checkpoint(tmp_path / "bundle")
    write_folder(tmp_path / "ours", checkpoint)
    assert_near(theirs(tmp_path / "ours").encode(TEXTS), wanted)
    assert np.array_equal(ours(tmp_path / "ours").encode(TEXTS), wanted)


def test_an_encoder_alone(tmp_path, encoder):
    """The library has no vectors of such a folder; of the same encoder without a modules.json it takes the mean."""
    alone, plain = saved(tmp_path / "theirs", encoder), ours(encoder)
    assert np.array_equal(ours(alone).encode(TEXTS[:1]), plain.encode(TEXTS[:1]))
    assert_near(ours(alone).encode(TEXTS[:1]), theirs(encoder).encode(TEXTS[:1]))


SETTINGS = {
    "prompts": {"prompts": {"query": "the film ", "other": "bad "}},
    "default prompt": {"prompts": {"query": "the film "}, "default_prompt_name": "query"},
    "default of the library": {"default_prompt_name": "document"},
    "truncate": {"truncate_dim": 5},
    "truncate to more than there is": {"truncate_dim": 500},
    "similarity": {"similarity_fn_name": "dot"},
}


@pytest.mark.parametrize("name", list(SETTINGS))
def test_settings(tmp_path, encoder, name):
    saved(tmp_path / "theirs", encoder, pooling("mean"), other("Normalize"), **SETTINGS[name])
    write_folder(tmp_path / "ours", read_folder(tmp_path / "theirs"))
    for path in (tmp_path / "theirs", tmp_path / "ours"):
        compare(path)
    settings = [json.loads((tmp_path / path / "config_sentence_transformers.json").read_text())
                for path in ("theirs", "ours")]
    assert settings[0] == settings[1]


def test_prompts_of_a_call(tmp_path, encoder):
    path = saved(tmp_path / "theirs", encoder, pooling("mean"), prompts={"query": "the film ", "bad": "bad "},
                 default_prompt_name="query")
    plain = compare(path, prompt="")
    for arguments in ({}, {"prompt_name": "bad"}, {"prompt_name": "document"}, {"prompt": "w1 "},
                      {"prompt": "w1 ", "prompt_name": "bad"}):
        got = compare(path, **arguments)
        assert np.array_equal(got, plain) == (arguments == {"prompt_name": "document"})
    model = ours(path)
    with pytest.raises(UsageError, match=r"unknown prompt 'querry'\. Did you mean 'query'"):
        model.encode(TEXTS, prompt_name="querry")
    assert_near(model.encode(TEXTS, truncate_dim=3, normalize=True),
                theirs(path).encode(TEXTS, truncate_dim=3, normalize_embeddings=True))
    with pytest.raises(UsageError, match="truncate_dim must be"):
        model.encode(TEXTS, truncate_dim=0)


@pytest.mark.parametrize("mode", ["mean", "weightedmean", "cls", "lasttoken"])
def test_prompts_that_are_not_pooled(tmp_path, encoder, mode):
    path = saved(tmp_path / "theirs", encoder, pooling(mode, include_prompt=False), prompts={"query": "the film is "},
                 default_prompt_name="query")
    compare(path)
    compare(path, prompt="")


@pytest.mark.parametrize("lower", [True, False])
def test_lower_case_of_the_length_file(tmp_path, encoder, lower):
    """Where the tokenizer keeps the case and sentence_bert_config.json does not, as versions before 5.4 wrote it."""
    path = saved(tmp_path / "theirs", encoder, pooling("mean"))
    (path / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 16, "do_lower_case": lower}))
    upper, below = compare(path)[:2], ours(path).encode([text.lower() for text in TEXTS[:2]])
    assert np.array_equal(upper, below) == lower
    write_folder(tmp_path / "ours", read_folder(path))
    assert np.array_equal(compare(tmp_path / "ours")[:2], upper)
    assert json.loads((tmp_path / "ours" / "sentence_bert_config.json").read_text())["do_lower_case"] == lower


def older(path, folder, length_name, pooling_file):
    """Rewrite a folder in the layout of older versions: the encoder in a folder of its own, the length's own file."""
    place = path / folder
    place.mkdir(exist_ok=True)
    for file in list(path.iterdir()):
        if folder and file.is_file() and file.name not in ("modules.json", "config_sentence_transformers.json"):
            shutil.move(file, place / file.name)
    (place / "sentence_bert_config.json").unlink()
    (place / length_name).write_text(json.dumps({"max_seq_length": 9, "do_lower_case": False}))
    tokenizer = json.loads((place / "tokenizer_config.json").read_text())
    (place / "tokenizer_config.json").write_text(json.dumps({**tokenizer, "model_max_length": 512}))
    modules = json.loads((path / "modules.json").read_text())
    for module in modules:
        module["type"] = "sentence_transformers.models." + module["type"].rpartition(".")[2]
    modules[0]["path"] = folder
    (path / "modules.json").write_text(json.dumps(modules))
    (path / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": UNITS, **pooling_file}))


@pytest.mark.parametrize("folder, length_name", [
    ("0_Transformer", "sentence_bert_config.json"), ("0_BERT", "sentence_bert_config.json"),
    ("", "sentence_roberta_config.json"), ("", "sentence_distilbert_config.json"), ("x", "sentence_xlnet_config.json")])
@pytest.mark.parametrize("modes", [{"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False},
                                   {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True}, {},
                                   {"pooling_mode_mean_sqrt_len_tokens": True}])
def test_older_layouts(tmp_path, encoder, folder, length_name, modes):
    path = saved(tmp_path / "theirs", encoder, pooling("mean"))
    older(path, folder, length_name, modes)
    compare(path)
    assert ours(path).max_length == 9


def test_classes_of_the_first_version(tmp_path, encoder):
    """Version 0.2 had a class for each encoder, which later ones do not have any more."""
    path = saved(tmp_path / "theirs", encoder, pooling("mean"))
    older(path, "0_BERT", "sentence_bert_config.json", {"pooling_mode_mean_tokens": True})
    wanted = theirs(path).encode(TEXTS)
    modules = json.loads((path / "modules.json").read_text())
    modules[0]["type"] = "sentence_transformers.models.BERT"
    (path / "modules.json").write_text(json.dumps(modules))
    assert_near(ours(path).encode(TEXTS), wanted)


@pytest.mark.parametrize("said, length", [(12, 12), (POSITIONS, POSITIONS), (512, POSITIONS), (10 ** 30, POSITIONS),
                                          (None, POSITIONS)])
def test_the_length_is_the_tokenizers(tmp_path, said, length):
    """In plain folders, as transformers cuts, and in those of the library since 5.4."""
    import transformers

    more = {} if said is None else {"model_max_length": said}
    plain = plain_folder(tmp_path, torch_model("bert", "Model"), **more)
    model = ours(plain)
    assert model.max_length == length and not model.notes
    cut = transformers.AutoTokenizer.from_pretrained(plain)(TEXTS[3], truncation=True, max_length=min(
        said or POSITIONS, POSITIONS))["input_ids"]
    assert model.tokenizer.encode(TEXTS[3:4], max_length=model.max_length)[0].ids.tolist() == cut
    compare(saved(tmp_path / "theirs", plain, pooling("mean"), transformer={"max_seq_length": None}))
    write_folder(tmp_path / "ours", read_folder(plain))
    assert transformers.AutoTokenizer.from_pretrained(tmp_path / "ours").model_max_length == length


def test_a_length_of_more_than_the_positions(tmp_path, encoder):
    path = saved(tmp_path / "theirs", encoder, pooling("mean"))
    (path / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": POSITIONS + 2}))
    model = ours(path)
    assert model.max_length == POSITIONS
    assert f"max_seq_length {POSITIONS + 2}, but the encoder has {POSITIONS} positions" in model.notes[0]


def change(name, **fields):
    def apply(path):
        content = json.loads((path / name).read_text())
        (content[0] if isinstance(content, list) else content).update(fields)
        (path / name).write_text(json.dumps(content))
    return apply


REFUSED = {
    "another pooling": (change("1_Pooling/config.json", pooling_mode="median"), "pooling_mode 'median'"),
    "another width": (change("1_Pooling/config.json", embedding_dimension=25), "pools 25 units and the encoder has 24"),
    "own code": (change("modules.json", type="custom_st.Transformer"), "code of the model's own"),
    "another module": (change("modules.json", type="sentence_transformers.models.CNN"), "lists CNN, Pooling"),
    **{name: (change("modules.json", type=f"sentence_transformers.models.{name}"), f"lists {name}, Pooling")
       for name in ("StaticEmbedding", "BoW", "CLIPModel")},
    "length of a flag": (change("sentence_bert_config.json", max_seq_length=True), "max_seq_length True"),
    "width of a text": (change("config_sentence_transformers.json", truncate_dim="5"), "truncate_dim '5'"),
    "prompts of a list": (change("config_sentence_transformers.json", prompts=["a"]), "prompts has to be an object"),
    "outside": (change("modules.json", path="../other"), "not inside"),
    "arguments": (change("sentence_bert_config.json", model_args={"attn_dropout": 1}), "has model_args = "),
    "arguments of the tokenizer": (change("sentence_bert_config.json", processing_kwargs={"text": {"max_length": 4}}),
                                   "has processing_kwargs = "),
    "another task": (change("sentence_bert_config.json", transformer_task="fill-mask"), "transformer_task"),
    "another model": (change("config_sentence_transformers.json", model_type="SparseEncoder"), "SparseEncoder"),
    "a prompt that is none": (change("config_sentence_transformers.json", default_prompt_name="passage"),
                              "default_prompt_name 'passage', which is not one of its prompts"),
    "no width": (change("config_sentence_transformers.json", truncate_dim=0), "truncate_dim 0"),
    "no length": (change("sentence_bert_config.json", max_seq_length="long"), "max_seq_length 'long'"),
}


@pytest.mark.parametrize("name", list(REFUSED))
def test_what_is_refused(tmp_path, encoder, name):
    spoil, words = REFUSED[name]
    path = saved(tmp_path / "theirs", encoder, pooling("mean"))
    spoil(path)
    with pytest.raises(ModelError, match=words):
        read_folder(path)


def test_two_ways_for_queries_and_documents_are_refused(tmp_path, encoder):
    """A Router, which has an encoder for each, as the library saves it."""
    from sentence_transformers.base.modules import Router, Transformer

    ways = [[Transformer(str(encoder)), pooling(mode)] for mode in ("mean", "cls")]
    router = Router.for_query_document(*ways)
    library.SentenceTransformer(modules=[router], device="cpu").save(str(tmp_path / "theirs"))
    with pytest.raises(ModelError, match=r"modules.json lists Router; only Transformer, Pooling, .* can be read"):
        read_folder(tmp_path / "theirs")


def test_keys_that_are_not_known_are_noted(tmp_path, encoder):
    path = saved(tmp_path / "theirs", encoder, pooling("mean"))
    for file in ("config.json", "modules.json", "1_Pooling/config.json", "sentence_bert_config.json",
                 "config_sentence_transformers.json"):
        change(file, brand_new=1)(path)
    notes = read_folder(path).notes
    assert len(notes) == 5 and all("brand_new, which is not known here" in note for note in notes)


@pytest.fixture(scope="module", params=[1, 3])
def classifier(request, tmp_path_factory):
    return plain_folder(tmp_path_factory.mktemp("classifier"), torch_model(
        "bert", "ForSequenceClassification", num_labels=request.param)), request.param


def scores(path):
    found = ours(path).predict([a for a, _ in PAIRS], [b for _, b in PAIRS])
    return np.array([each.score if not each.scores else list(each.scores.values()) for each in found])


@pytest.mark.parametrize("activation", ["Identity", "Sigmoid", None])
@pytest.mark.parametrize("layout", ["new", "config.json", "before version 4"])
def test_cross_encoders(tmp_path, classifier, activation, layout):
    source, outputs = classifier
    function = None if activation is None else torch_activation(activation)
    model = library.CrossEncoder(str(source), max_length=12, activation_fn=function, device="cpu")
    wanted = model.predict(PAIRS)
    path = tmp_path / "theirs"
    model.save_pretrained(str(path))
    said = json.loads((path / "config_sentence_transformers.json").read_text())["activation_fn"]
    if layout != "new":
        for name in ("modules.json", "sentence_bert_config.json", "config_sentence_transformers.json"):
            (path / name).unlink()
        change("config.json", **({"sentence_transformers": {"activation_fn": said, "version": "4.1.0"}}
                                 if layout == "config.json" else {"sbert_ce_default_activation_function": said}))(path)
    assert_near(scores(path), wanted)
    write_folder(tmp_path / "ours", read_folder(path))
    assert_near(scores(tmp_path / "ours"), wanted)
    assert_near(library.CrossEncoder(str(tmp_path / "ours"), device="cpu").predict(PAIRS), wanted)
    if outputs == 1:
        ranked = ours(path).rerank(PAIRS[0][0], [b for _, b in PAIRS])
        order = model.rank(PAIRS[0][0], [b for _, b in PAIRS])
        assert [each.index for each in ranked] == [each["corpus_id"] for each in order]
        assert_near(np.array([each.score for each in ranked]), np.array([each["score"] for each in order]))


def test_prompts_of_a_cross_encoder(tmp_path, classifier):
    source, _ = classifier
    model = library.CrossEncoder(str(source), prompts={"query": "the film "}, default_prompt_name="query", device="cpu")
    model.save_pretrained(str(tmp_path / "theirs"))
    wanted = model.predict(PAIRS)
    assert_near(scores(tmp_path / "theirs"), wanted)
    write_folder(tmp_path / "ours", read_folder(tmp_path / "theirs"))
    assert_near(library.CrossEncoder(str(tmp_path / "ours"), device="cpu").predict(PAIRS), wanted)


def test_an_activation_that_is_not_known(tmp_path, classifier):
    source, _ = classifier
    path = tmp_path / "theirs"
    shutil.copytree(source, path)
    change("config.json", sentence_transformers={"activation_fn": "torch.nn.modules.activation.Hardswish"})(path)
    with pytest.raises(ModelError, match="Hardswish' of its outputs"):
        read_folder(path)


def test_lower_case_is_put_in_once(encoder):
    tokenizer = huggingface.lowered(read_folder(encoder).tokenizer)
    assert tokenizer.lower and huggingface.lowered(tokenizer) is tokenizer
