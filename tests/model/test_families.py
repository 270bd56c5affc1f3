"""Families that are another one by another name or with another head, in every engine, against transformers; their
folders, both ways; the table of docs/models.md."""

import json
from pathlib import Path

import numpy as np
import pytest

import bertpass
from bertpass.errors import ModelError
from bertpass.model.checkpoint import load_checkpoint
from bertpass.model.export import export_bundle
from bertpass.model.families import FAMILIES
from bertpass.model.files import tensors
from bertpass.model.layouts import packed
from bertpass.model.layouts.huggingface import read_folder, write_folder
from tests.helpers.against_transformers import SUFFIXES, TOLERANCE, largest, outputs
from tests.helpers.tiny_models import (
    CLASSES,
    PAD,
    POSITIONS,
    VOCAB,
    ragged_batch,
    same_arrays,
    torch_model,
    torch_outputs,
    write_vocab,
)

KIN = ["camembert", "xlm-roberta"]
ENGINES = {"native": (), "onnxruntime": ("onnxruntime", "onnx"), "openvino": ("openvino", "onnx"), "torch": ("torch",),
           "mxnet": ("mxnet",)}


def without_types(family):
    ids, types, lengths = ragged_batch(family)
    return ids, np.zeros_like(types), lengths


def test_every_family_has_a_tiny_model():
    assert set(FAMILIES) == set(CLASSES) == set(PAD)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("family", [*KIN, "electra"])
def test_every_engine(tmp_path, family, engine):
    """From the folder that transformers writes: token states, and the logits of every head."""
    for package in ENGINES[engine]:
        pytest.importorskip(package, reason=f"pip install '.[{engine}]' to test this engine")
    batch = without_types(family)
    for suffix, fields in SUFFIXES.items():
        theirs = torch_model(family, suffix, **fields)
        theirs.save_pretrained(tmp_path / suffix)
        options = {} if engine == "mxnet" else {"threads": 1}
        with bertpass.load(tmp_path / suffix, engine, dtype="float32", **options) as model:
            assert model.config.family == family
            found = model.forward(*batch)[0]
        assert largest(found, outputs(theirs, family, suffix, batch), batch[2]) <= TOLERANCE, suffix


@pytest.mark.parametrize("family", [*KIN, "electra"])
def test_written_in_every_layout(tmp_path, family):
    """A folder that transformers opens as the same class, a bundle and a packed file: the same tensors and bits."""
    import transformers

    theirs = torch_model(family, "ForSequenceClassification", num_labels=1)
    theirs.save_pretrained(tmp_path / "theirs")
    (tmp_path / "theirs" / "config.json").write_text(json.dumps({
        **json.loads((tmp_path / "theirs" / "config.json").read_text()), "problem_type": "multi_label_classification"}))
    write_vocab(tmp_path / "theirs")
    checkpoint, batch = read_folder(tmp_path / "theirs"), without_types(family)
    assert checkpoint.head.kind == "ranking"
    write_folder(tmp_path / "ours", checkpoint)
    same_arrays(tensors.read(tmp_path / "ours"), tensors.read(tmp_path / "theirs"))
    auto = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "ours").eval()
    assert type(auto).__name__ == CLASSES[family] + "ForSequenceClassification" and auto.config.model_type == family
    assert np.array_equal(torch_outputs(auto, family, *batch)[0], torch_outputs(theirs, family, *batch)[0])

    with bertpass.load(tmp_path / "theirs", dtype="float32", threads=1) as model:
        wanted = model.forward(*batch)[0]
    export_bundle(checkpoint, tmp_path / "bundle")
    packed.write(tmp_path / "packed.safetensors", checkpoint, "float32")
    for path in ("ours", "bundle", "packed.safetensors"):
        dtype = None if path.endswith(".safetensors") else "float32"
        with bertpass.load(tmp_path / path, dtype=dtype, threads=1) as model:
            assert model.config == checkpoint.config and np.array_equal(model.forward(*batch)[0], wanted), path
    assert load_checkpoint(tmp_path / "bundle").config.family == family


def test_long_rows_and_a_large_vocabulary(tmp_path):
    """The sizes of bge-m3: 8194 positions, of which text has 8192, and 250,002 words."""
    theirs = torch_model("xlm-roberta", "Model", vocab_size=250002, max_position_embeddings=8194, hidden_size=8,
                         num_attention_heads=2, intermediate_size=8, num_hidden_layers=1)
    theirs.save_pretrained(tmp_path)
    ids = np.random.default_rng(0).integers(5, 250002, (2, 1500)).astype("int32")
    ids[0, :2] = 0, 250001
    batch = ids, np.zeros_like(ids), np.array([1500, 40], "int32")
    ids[1, 40:] = PAD["xlm-roberta"]
    with bertpass.load(tmp_path, dtype="float32", threads=1) as model:
        assert model.max_length == 8192 and model.config.vocab_size == 250002
        found = model.forward(*batch)[0]
    assert largest(found, torch_outputs(theirs, "xlm-roberta", *batch)[0], batch[2]) <= TOLERANCE


def test_a_file_of_sentencepiece_alone_is_told(tmp_path):
    torch_model("xlm-roberta", "Model").save_pretrained(tmp_path)
    (tmp_path / "sentencepiece.bpe.model").write_bytes(b"")
    (note,) = read_folder(tmp_path).notes
    assert "no tokenizer" in note and "save its tokenizer once with transformers" in note


@pytest.mark.parametrize("family", ["roberta", *KIN])
def test_positions_that_begin_elsewhere_are_refused(tmp_path, family):
    torch_model(family, "Model").save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["max_position_embeddings"] == POSITIONS + 2 and config["vocab_size"] == VOCAB
    (tmp_path / "config.json").write_text(json.dumps({**config, "pad_token_id": 0}))
    with pytest.raises(ModelError, match=f"pad_token_id 0; a checkpoint of type {family} must have 1 there"):
        read_folder(tmp_path)


# -- the table of docs/models.md --------------------------------------------------------------------------------------

PAGE = Path(__file__).resolve().parents[2] / "docs" / "models.md"
TOKENIZERS = {"albert": "ALBERT", "bert": "BERT", "distilbert": "BERT", "electra": "BERT", "mpnet": "BERT",
              "roberta": "RoBERTa", "camembert": "CamemBERT", "xlm-roberta": "XLM-R", "deberta-v2": "DeBERTa",
              "modernbert": "ModernBERT", "new": "XLM-R", "nomic_bert": "BERT", "jina_bert": "BERT"}
HEADS = {"Model": "states", "ForSequenceClassification": "classification", "ForTokenClassification": "tags",
         "ForQuestionAnswering": "answers"}
TITLES = ["`model_type`", "tokenizer", "heads", "native", "ONNX", "bfloat16", "int8", "CUDA"]


def table():
    """The rows of the page, by model_type."""
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    begin = lines.index(f"| {' | '.join(TITLES)} |")
    found = {}
    for line in lines[begin + 2:]:
        if not line.startswith("|"):
            return found
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        found[cells[0].strip("`")] = dict(zip(TITLES[1:], cells[1:], strict=True))
    return found


def test_the_page_has_every_family():
    assert list(table()) == list(FAMILIES)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_page_says_what_is_tested(tmp_path, family):
    """A family's row: its tokenizer's ids are transformers', its heads load, and no error is larger than it says."""
    from tests.helpers.small_tokenizers import TEXTS, save

    for package in ("onnx", "onnxruntime"):
        pytest.importorskip(package, reason="pip install '.[onnxruntime]' to test the ONNX graph")
    errors, lower = {"native": 0.0, "onnxruntime": 0.0}, {"bfloat16": 0.0, "int8": 0.0}
    batch, done = without_types(family), []
    for suffix, fields in SUFFIXES.items():
        tokenizer = save(tmp_path / suffix, TOKENIZERS[family])
        theirs = torch_model(family, suffix, vocab_size=max(tokenizer.get_vocab().values()) + 1, **fields)
        theirs.save_pretrained(tmp_path / suffix)
        wanted = outputs(theirs, family, suffix, batch)
        for engine in errors:
            with bertpass.load(tmp_path / suffix, engine, dtype="float32", threads=1) as model:
                errors[engine] = max(errors[engine], largest(model.forward(*batch)[0], wanted, batch[2]))
                for text in TEXTS.values():
                    cut = tokenizer(text, truncation=True, max_length=model.max_length)["input_ids"]
                    assert model.tokenizer.encode([text], max_length=model.max_length)[0].ids.tolist() == cut
        if suffix == "Model":
            inside = np.arange(wanted.shape[1]) < batch[2][:, None]
            for dtype in lower:
                with bertpass.load(tmp_path / suffix, dtype=dtype, threads=1) as model:
                    off = (model.forward(*batch)[0] - wanted)[inside]
                lower[dtype] = np.linalg.norm(off) / np.linalg.norm(wanted[inside])
        done.append(HEADS[suffix])
    row = table()[family]
    kind = {"BERT": "WordPiece", "RoBERTa": "byte-level BPE", "ModernBERT": "byte-level BPE"}.get(
        TOKENIZERS[family], "Unigram")
    assert (row["tokenizer"], row["heads"]) == (kind, ", ".join(done))
    said = [float(row[engine]) for engine in ("native", "ONNX")]
    assert max(said) <= TOLERANCE
    assert all(error <= most for error, most in zip(errors.values(), said, strict=True)), errors
    assert all(0 < error <= float(row[dtype].rstrip("%")) / 100 for dtype, error in lower.items()), lower
