"""Hugging Face folders, in and out: BERT, DistilBERT and RoBERTa, with a classifier, tags, a QA head or none.

Every weight is taken and given back bit for bit. RoBERTa's position table has two rows more than positions, for
padding: they are cut off here and kept beside the parameters (``Checkpoint.extras``), and its token type row is a
parameter only where it is not zero.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bertpass.errors import ModelError
from bertpass.model import parameters, tensors
from bertpass.model.config import CLASSIFIERS, EncoderConfig, HeadConfig
from bertpass.model.folders import HUGGINGFACE_FILE as CONFIG
from bertpass.model.folders import read_json, read_object, replacing, write_json
from bertpass.model.record import Checkpoint
from bertpass.text.tokenizer import Tokenizer

TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "vocab.json")
PAD_ROWS = "embeddings.position_embeddings.weight[:2]"

_BERT_CELL = {
    "attention_cell.proj_query": "attention.self.query", "attention_cell.proj_key": "attention.self.key",
    "attention_cell.proj_value": "attention.self.value", "proj": "attention.output.dense",
    "layer_norm": "attention.output.LayerNorm", "ffn.ffn_1": "intermediate.dense", "ffn.ffn_2": "output.dense",
    "ffn.layer_norm": "output.LayerNorm",
}
_DISTILBERT_CELL = {
    "attention_cell.proj_query": "attention.q_lin", "attention_cell.proj_key": "attention.k_lin",
    "attention_cell.proj_value": "attention.v_lin", "proj": "attention.out_lin", "layer_norm": "sa_layer_norm",
    "ffn.ffn_1": "ffn.lin1", "ffn.ffn_2": "ffn.lin2", "ffn.layer_norm": "output_layer_norm",
}
_OUTSIDE_CELLS = {
    "word_embed.0.weight": "embeddings.word_embeddings.weight",
    "token_type_embed.0.weight": "embeddings.token_type_embeddings.weight",
    "encoder.position_weight": "embeddings.position_embeddings.weight",
    "encoder.layer_norm.gamma": "embeddings.LayerNorm.weight",
    "encoder.layer_norm.beta": "embeddings.LayerNorm.bias",
    "pooler.weight": "pooler.dense.weight",
    "pooler.bias": "pooler.dense.bias",
}
_CLASSIFIERS = {
    "bert": {"classifier.1": "classifier"},
    "distilbert": {"pre_classifier": "pre_classifier", "classifier.1": "classifier"},
    "roberta": {"classifier.1": "classifier.dense", "classifier.3": "classifier.out_proj"},
}
_TOKEN_LAYERS = {"span_classifier": "qa_outputs", "tag_classifier": "classifier"}
_SEQUENCE, _TOKENS = "ForSequenceClassification", "ForTokenClassification"  # ends of the classes' names
_SUFFIXES = {**dict.fromkeys(CLASSIFIERS, _SEQUENCE), "tokens": _TOKENS, "qa": "ForQuestionAnswering"}
# How a classifier is trained, as config.json says it. Re-ranking is that of sentence-transformers' cross-encoders: one
# logit, binary cross entropy, and the activation among their own fields (the older field is the first).
_PROBLEMS = {"classification": "single_label_classification", "regression": "regression",
             "multilabel": "multi_label_classification", "ranking": "multi_label_classification"}
_CROSS_ENCODER = ("sbert_ce_default_activation_function", "sentence_transformers")
_KIND = {"weight": "weight", "bias": "bias", "gamma": "weight", "beta": "bias"}
_CLASS_NAMES = {"bert": "Bert", "distilbert": "DistilBert", "roberta": "Roberta"}
_ENCODER_PARTS = ("embeddings.", "encoder.", "transformer.", "pooler.")


def tensor_name(config: EncoderConfig, name: str) -> str:
    """The Hugging Face tensor, without the model's prefix, that holds the parameter ``name`` of ours."""
    path, _, kind = name.rpartition(".")
    if path in _TOKEN_LAYERS:
        return f"{_TOKEN_LAYERS[path]}.{kind}"
    if path in _CLASSIFIERS[config.family]:
        return f"{_CLASSIFIERS[config.family][path]}.{kind}"
    name = name[len(config.root) + 1:]
    if name in _OUTSIDE_CELLS:
        return _OUTSIDE_CELLS[name]
    number, _, part = path[len(f"{config.root}.encoder.transformer_cells."):].partition(".")
    if config.family == "distilbert":
        return f"transformer.layer.{number}.{_DISTILBERT_CELL[part]}.{_KIND[kind]}"
    return f"encoder.layer.{number}.{_BERT_CELL[part]}.{_KIND[kind]}"


def read_folder(path: str | os.PathLike[str], allow_pickle: bool = False) -> Checkpoint:
    """Read a folder in Hugging Face's layout.

    Parameters
    ----------
    path : folder with config.json, model.safetensors (or its shards) and, optionally, tokenizer files; a
        sentence-transformers folder gives an embedding head with its pooling
    allow_pickle : also read pytorch_model.bin, with PyTorch and restricted to tensors

    Returns
    -------
    Checkpoint; its notes name what was ignored, such as heads of pretraining

    Raises
    ------
    ModelError
        A file is missing or damaged, or describes a model that is not one of ours.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise ModelError(f"there is no folder {path}; give the folder of a Hugging Face model.")
    content = read_object(folder / CONFIG, "the model's configuration")
    config = EncoderConfig.from_huggingface(content)
    found = _plain_names(tensors.read(folder, allow_pickle), config, folder)
    notes: list[str] = []
    extras: dict[str, np.ndarray] = {}
    config = _fit_to_tensors(config, found, extras)
    head = _head(content, config, found)
    max_length = None
    if head.kind == "none":
        head, max_length = _sentence_head(folder, config)
    wanted = {**parameters.encoder_shapes(config), **parameters.head_shapes(config, head)}
    params = _take(found, config, wanted, folder)
    _leave(found, folder, notes)
    parameters.check(params, wanted, str(folder))
    return Checkpoint(config, head, params, tokenizer=_tokenizer(folder, notes), labels=_labels(content, head),
                      max_length=max_length, source=str(folder), notes=notes, extras=extras)


def write_folder(path: str | os.PathLike[str], checkpoint: Checkpoint) -> None:
    """Write a folder that transformers' AutoModel..., AutoTokenizer and sentence-transformers open.

    An existing folder is replaced only if it is empty or has a config.json; the new one appears whole or not at all.
    A pooler that the written class does not have (question answering, RoBERTa's and DistilBERT's classifiers) is left
    out.

    Raises
    ------
    ModelError
        The parameters do not fit the configuration, or the folder cannot be written.
    """
    checkpoint.check()
    with replacing(path, CONFIG, "a Hugging Face folder") as folder:
        arrays = _to_tensors(checkpoint)
        write_json(folder / CONFIG, _config_json(checkpoint, arrays))
        tensors.write(folder / tensors.SAFETENSORS, arrays)
        if checkpoint.tokenizer is not None:
            checkpoint.tokenizer.save(folder, checkpoint.max_length, checkpoint.config.max_length)
        if checkpoint.head.kind == "embedding":
            _write_sentence_files(folder, checkpoint)


def _plain_names(found: Mapping[str, np.ndarray], config: EncoderConfig, folder: Path) -> dict[str, np.ndarray]:
    """Tensors without the model's prefix and with today's names for layer norms."""
    plain: dict[str, np.ndarray] = {}
    for name, tensor in found.items():
        short = name.removeprefix(f"{config.family}.")
        short = short.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")
        if short in plain:
            raise ModelError(f"{folder} holds the tensor '{short}' twice, with and without its prefix.")
        plain[short] = tensor
    return plain


def _fit_to_tensors(config: EncoderConfig, found: dict[str, np.ndarray], extras: dict[str, np.ndarray],
                    ) -> EncoderConfig:
    """Settle what only the weights tell (pooler, RoBERTa's token type row) and cut RoBERTa's rows for padding."""
    fields = config.to_dict()
    fields["use_pooler"] = "pooler.dense.weight" in found
    if config.family == "roberta":
        positions, row = _OUTSIDE_CELLS["encoder.position_weight"], _OUTSIDE_CELLS["token_type_embed.0.weight"]
        if positions in found:
            extras[PAD_ROWS], found[positions] = found[positions][:2], found[positions][2:]
        if row not in found or (len(found[row]) == 1 and not any(found[row].tobytes())):
            found.pop(row, None)
            fields["token_type_vocab_size"] = 0
    return EncoderConfig.from_dict(fields)


def _head(content: Mapping[str, Any], config: EncoderConfig, found: Mapping[str, np.ndarray]) -> HeadConfig:
    """The head that the architecture's name and the tensors agree on."""
    names = content.get("architectures")
    architecture = str(names[0]) if isinstance(names, list) and names else ""
    layers = [f"{layer}.weight" for layer in _CLASSIFIERS[config.family].values()]
    if "qa_outputs.weight" in found:
        return HeadConfig("qa")
    whole = all(layer in found for layer in layers) and (config.family != "bert" or config.use_pooler)
    if whole and (not architecture or architecture.endswith(_SEQUENCE)):
        outputs = len(found[layers[-1]])
        return HeadConfig(_problem(content, outputs), num_labels=outputs)
    if "classifier.weight" in found and (not architecture or architecture.endswith(_TOKENS)):
        return HeadConfig("tokens", num_labels=len(found["classifier.weight"]))
    return HeadConfig("none")


def _problem(content: Mapping[str, Any], outputs: int) -> str:
    """The kind of a classifier of so many outputs."""
    said = content.get("problem_type")
    if said == "regression":
        return "regression"
    if outputs == 1:
        return "ranking" if said == _PROBLEMS["ranking"] or any(name in content for name in _CROSS_ENCODER) \
            else "regression"
    return "multilabel" if said == _PROBLEMS["multilabel"] else "classification"


def _sentence_head(folder: Path, config: EncoderConfig) -> tuple[HeadConfig, int | None]:
    """The embedding head and longest text of a sentence-transformers folder, or no head."""
    if not (folder / "modules.json").is_file():
        return HeadConfig("none"), None
    modules = read_json(folder / "modules.json", "the list of sentence-transformers modules")
    if not isinstance(modules, list) or not all(isinstance(module, dict) for module in modules):
        raise ModelError(f"{folder / 'modules.json'} is not a list of modules.")
    kinds = [str(module.get("type", "")).rpartition(".")[2] for module in modules]
    if kinds[:2] != ["Transformer", "Pooling"] or kinds[2:] not in ([], ["Normalize"]):
        raise ModelError(f"{folder / 'modules.json'} lists {', '.join(kinds) or 'nothing'}; only Transformer, Pooling "
                         "and Normalize can be read.")
    file = folder / str(modules[1].get("path", "")) / CONFIG
    pooling = read_object(file, "the pooling's configuration")
    on = sorted(key for key, value in pooling.items() if key.startswith("pooling_mode_") and value is True)
    known = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}
    if len(on) != 1 or on[0] not in known:
        raise ModelError(f"{file} asks for {', '.join(on) or 'no pooling'}; only one of {', '.join(known)} "
                         "can be read.")
    longest = None
    if (folder / "sentence_bert_config.json").is_file():
        longest = read_object(folder / "sentence_bert_config.json", "the sentence length").get("max_seq_length")
    if longest is not None and not (isinstance(longest, int) and 2 < longest <= config.max_length):
        raise ModelError(f"{folder / 'sentence_bert_config.json'} says max_seq_length {longest}, which the encoder's "
                         f"{config.max_length} positions do not allow.")
    return HeadConfig("embedding", pooling=known[on[0]], normalize=kinds[2:] == ["Normalize"]), longest


def _take(found: dict[str, np.ndarray], config: EncoderConfig, wanted: Mapping[str, Any], folder: Path,
          ) -> dict[str, np.ndarray]:
    """Move the wanted tensors from ``found`` into a dict by our names."""
    names = {name: tensor_name(config, name) for name in wanted}
    missing = [theirs for theirs in names.values() if theirs not in found]
    if missing:
        raise ModelError(f"{folder} lacks {len(missing)} of the {len(names)} tensors of its model, "
                         f"first '{missing[0]}'; its config.json and its weights do not belong together.")
    return {ours: found.pop(theirs) for ours, theirs in names.items()}


def _leave(found: Mapping[str, np.ndarray], folder: Path, notes: list[str]) -> None:
    """Note what is left over; an unknown part of the encoder is an error, for without it outputs would differ."""
    left = [name for name in found if not name.endswith("position_ids")]
    strange = [name for name in left if name.startswith(_ENCODER_PARTS)]
    if strange:
        raise ModelError(f"{folder} holds '{strange[0]}', which is not part of a plain encoder with the layers that "
                         "its config.json describes; it cannot be read.")
    if left:
        parts = sorted({name.partition(".")[0] for name in left})
        notes.append(f"ignored {len(left)} tensors that are not used here ({', '.join(parts)}).")


def _tokenizer(folder: Path, notes: list[str]) -> Tokenizer | None:
    if any((folder / name).is_file() for name in TOKENIZER_FILES):
        tokenizer = Tokenizer.from_folder(folder)
        notes += tokenizer.notes
        return tokenizer
    notes.append(f"the folder has no tokenizer (none of {', '.join(TOKENIZER_FILES)}).")
    return None


def _labels(content: Mapping[str, Any], head: HeadConfig) -> list[str] | None:
    """The labels in the order of their ids, unless they are the placeholders LABEL_0 and so on."""
    table = content.get("id2label")
    if head.kind not in ("classification", "multilabel", "tokens") or not isinstance(table, dict):
        return None
    labels = [str(table.get(str(i), f"LABEL_{i}")) for i in range(head.num_labels)]
    return None if labels == [f"LABEL_{i}" for i in range(head.num_labels)] else labels


def _to_tensors(checkpoint: Checkpoint) -> dict[str, np.ndarray]:
    config, head = checkpoint.config, checkpoint.head
    with_head = head.kind in _SUFFIXES
    has_pooler = not with_head or (head.has_classifier and config.family == "bert")
    prefix = f"{config.family}." if with_head else ""
    arrays: dict[str, np.ndarray] = {}
    for name, array in checkpoint.params.items():
        if name.startswith(f"{config.root}.pooler.") and not has_pooler:
            continue
        inside = name.startswith(f"{config.root}.")
        arrays[(prefix if inside else "") + tensor_name(config, name)] = array
    if config.family == "roberta":
        positions = prefix + _OUTSIDE_CELLS["encoder.position_weight"]
        pad = checkpoint.extras.get(PAD_ROWS, np.zeros((2, config.units)))
        arrays[positions] = np.concatenate([pad.astype(arrays[positions].dtype), arrays[positions]])
        arrays.setdefault(prefix + _OUTSIDE_CELLS["token_type_embed.0.weight"],
                          np.zeros((1, config.units), arrays[positions].dtype))
    return arrays


def _config_json(checkpoint: Checkpoint, arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    head = checkpoint.head
    suffix = _SUFFIXES.get(head.kind, "Model")
    content: dict[str, Any] = {"architectures": [_CLASS_NAMES[checkpoint.config.family] + suffix]}
    content.update(checkpoint.config.to_huggingface())
    content["torch_dtype"] = np.result_type(*{array.dtype for array in arrays.values()}).name
    if head.num_labels:
        labels = checkpoint.labels or [f"LABEL_{i}" for i in range(head.num_labels)]
        content["id2label"] = {str(i): label for i, label in enumerate(labels)}
        content["label2id"] = {label: i for i, label in enumerate(labels)}
    if head.kind in _PROBLEMS:
        content["problem_type"] = _PROBLEMS[head.kind]
    if head.kind == "ranking":
        content["sentence_transformers"] = {"activation_fn": "torch.nn.modules.activation.Sigmoid"}
    return content


def _write_sentence_files(folder: Path, checkpoint: Checkpoint) -> None:
    head = checkpoint.head
    kinds = [("Transformer", ""), ("Pooling", "1_Pooling")] + ([("Normalize", "2_Normalize")] if head.normalize else [])
    write_json(folder / "modules.json", [
        {"idx": i, "name": str(i), "path": place, "type": f"sentence_transformers.models.{kind}"}
        for i, (kind, place) in enumerate(kinds)])
    (folder / "1_Pooling").mkdir()
    write_json(folder / "1_Pooling" / CONFIG, {
        "word_embedding_dimension": checkpoint.config.units,
        "pooling_mode_cls_token": head.pooling == "cls", "pooling_mode_mean_tokens": head.pooling == "mean",
        "pooling_mode_max_tokens": False, "pooling_mode_mean_sqrt_len_tokens": False})
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": checkpoint.max_length, "do_lower_case": False})
