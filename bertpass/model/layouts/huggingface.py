"""Hugging Face folders, in and out: every family of encoders, with a classifier, tags, a QA head or none.

Every weight is taken and given back bit for bit. The position table of RoBERTa and its kin has two rows more than
positions, for padding: they are cut off here and kept beside the parameters (``Checkpoint.extras``), and the token type
row is a parameter only where it is not zero.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bertpass import known_keys
from bertpass.base.files import write_json
from bertpass.errors import ModelError
from bertpass.model import parameters
from bertpass.model.config import WORD_KINDS, EncoderConfig, HeadConfig
from bertpass.model.families import FAMILIES, Family, family_of
from bertpass.model.files import tensors
from bertpass.model.files.folders import HUGGINGFACE_FILE as CONFIG
from bertpass.model.files.folders import read_object, replacing
from bertpass.model.heads import needs_pooler
from bertpass.model.layouts import huggingface_heads as heads
from bertpass.model.layouts import sentence_transformers, stanford_colbert
from bertpass.model.record import Checkpoint
from bertpass.model.sentence import Sentence
from bertpass.text.tokens.tokenizer import Tokenizer

TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "vocab.json")
#: patterns of every file that :func:`read_folder` may read, of a module's folder too ("*" matches "/")
FILES = ("*config.json", "*.safetensors", "*.safetensors.index.json", "*tokenizer.json", "*vocab.txt", "*vocab.json",
         "*merges.txt", "*special_tokens_map.json", "*added_tokens.json", sentence_transformers.MODULES_FILE,
         sentence_transformers.SETTINGS_FILE, stanford_colbert.METADATA)
PICKLES = ("*pytorch_model*.bin", "*pytorch_model.bin.index.json")  # and these where pickles are allowed
PAD_ROWS = "embeddings.position_embeddings.weight[:2]"

_OUTSIDE_CELLS = {
    "word_embed.0.weight": "embeddings.word_embeddings.weight",
    "token_type_embed.0.weight": "embeddings.token_type_embeddings.weight",
    "encoder.position_weight": "embeddings.position_embeddings.weight",
    "encoder.relative_attention_bias.weight": "encoder.relative_attention_bias.weight",
    "encoder.relative_embed.weight": "encoder.rel_embeddings.weight",
    "encoder.relative_norm.gamma": "encoder.LayerNorm.weight",
    "encoder.relative_norm.beta": "encoder.LayerNorm.bias",
    "encoder.layer_norm.gamma": "embeddings.LayerNorm.weight",
    "encoder.layer_norm.beta": "embeddings.LayerNorm.bias",
}
_KIND = {"weight": "weight", "bias": "bias", "gamma": "weight", "beta": "bias"}
_ENCODER_PARTS = ("embeddings.", "embeddings_project.", "encoder.", "transformer.", "pooler.", "layers.", "final_norm.",
                  "emb_ln.")
#: what parts of layers that are not computed are called, and what they are
_NOT_COMPUTED = {".layer_norm_q.": "a normalisation of queries and keys", ".experts.": "a mixture of experts"}


def tensor_name(config: EncoderConfig, name: str) -> str:
    """The Hugging Face tensor, without the model's prefix, that holds the parameter ``name`` of ours.

    Where it holds several, one after the other, the number of the part follows in brackets: "...Wqkv.weight[1]".
    """
    path, _, kind = name.rpartition(".")
    if path == f"{config.root}.{parameters.PROJECTION}":
        return f"{config.about.projection}.{kind}"
    if path == f"{config.root}.pooler":
        return f"{config.about.pooler}.{kind}"
    if path in heads.TOKEN_LAYERS:
        return f"{heads.token_layer(config, path)}.{kind}"
    words = config.about.words
    if path in words.tensors:
        return words.bias if words.bias and name == "decoder.3.bias" else f"{words.tensors[path]}.{_KIND[kind]}"
    if path in config.classifier.tensors:
        return f"{config.classifier.tensors[path]}.{_KIND[kind]}"
    name = name[len(config.root) + 1:]
    outside = {**_OUTSIDE_CELLS, **config.about.outside}
    if name in outside:
        return outside[name]
    number, _, part = path[len(f"{config.root}.encoder.transformer_cells."):].partition(".")
    if config.about.shared:
        number = "0"
    for whole, parts in config.about.fused.items():
        if part in parts:
            return f"{config.about.cells}.{number}.{whole}.{_KIND[kind]}[{parts.index(part)}]"
    return f"{config.about.cells}.{number}.{config.about.cell[part]}.{_KIND[kind]}"


def _split(found: dict[str, np.ndarray], config: EncoderConfig, folder: Path) -> None:
    """Replace tensors that hold several parameters by their parts, which are views, as :func:`tensor_name` says."""
    for name in found:
        for part, what in _NOT_COMPUTED.items():
            if part in name:
                raise ModelError(f"{folder} holds '{name}': its layers have {what}, which is not computed.")
    for whole, parts in config.about.fused.items():
        for name in [name for name in found if name.rpartition(".")[0].endswith(f".{whole}")]:
            tensor = found.pop(name)
            if tensor.ndim < 1 or len(tensor) % len(parts):
                raise ModelError(f"{folder} holds '{name}' of shape {tensor.shape}, which is not {len(parts)} parts of "
                                 "one size.")
            found |= {f"{name}[{at}]": piece for at, piece in enumerate(np.split(tensor, len(parts)))}


def _join(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The opposite of :func:`_split`."""
    joined: dict[str, list[np.ndarray]] = {}
    for name in sorted(arrays, key=lambda name: name.partition("[")[2]):  # the parts of a tensor in their order
        joined.setdefault(name.partition("[")[0], []).append(arrays[name])
    order = dict.fromkeys(name.partition("[")[0] for name in arrays)
    return {name: joined[name][0] if len(joined[name]) == 1 else np.concatenate(joined[name]) for name in order}


def read_folder(path: str | os.PathLike[str], allow_pickle: bool = False, kind: str | None = None) -> Checkpoint:
    """Read a folder in Hugging Face's layout.

    Parameters
    ----------
    path : folder with config.json, model.safetensors (or its shards) and, optionally, tokenizer files; a
        sentence-transformers folder gives an embedding head with its pooling, one of ColBERT's own library vectors of
        tokens
    allow_pickle : also read pytorch_model.bin, with PyTorch and restricted to tensors
    kind : "mlm" or "sparse" for the head of masked words, which is left out of a folder where nobody asks for it

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
    layout = stanford_colbert.layout(folder) or sentence_transformers.layout(folder)
    encoder, notes = layout.encoder, layout.notes
    content = read_object(encoder / CONFIG, "the model's configuration")
    about = FAMILIES[family_of({key: value for key, value in content.items() if value is not None})]
    notes += known_keys.look(CONFIG, _without_own_code(content, about), str(encoder / CONFIG))
    config = EncoderConfig.from_huggingface(content)
    found, wrapper = tensors.without_wrapper(tensors.read(encoder, allow_pickle))
    if wrapper:
        notes.append(f"the tensors of {encoder} are all called {wrapper}...; that was left out.")
    found = _plain_names(found, config, encoder)
    _split(found, config, encoder)
    extras: dict[str, np.ndarray] = {}
    config = _fit_to_tensors(config, found, extras)
    head = heads.head(content, config, {name: tensor.shape for name, tensor in found.items()}, layout)
    sentence = Sentence()
    if layout.is_late and not layout.modules:
        sentence = stanford_colbert.sentence(layout, config, found)
    elif head.kind == "none" or layout.is_cross_encoder:
        plain, sentence = sentence_transformers.head_and_sentence(layout, config, allow_pickle)
        head = plain if head.kind == "none" else head
    if kind in WORD_KINDS and head.kind in ("none", *WORD_KINDS) and (layout.is_sparse or not layout.modules):
        head = head if head.kind == kind else HeadConfig(kind)
    if head.kind in WORD_KINDS:
        head = heads.words(head, content, config, found, encoder)
    wanted = {**parameters.encoder_shapes(config), **parameters.head_shapes(config, head)}
    params = _take(found, config, wanted, encoder)
    _leave(found, encoder, notes)
    parameters.check(params, wanted, str(encoder))
    tokenizer = _tokenizer(encoder, notes)
    if tokenizer is not None and layout.length.get("do_lower_case"):
        tokenizer = lowered(tokenizer)
    settings = {} if layout.is_late and not layout.modules else layout.settings
    carried = {CONFIG: content, sentence_transformers.SETTINGS_FILE: dict(settings),
               sentence_transformers.LENGTH_FILE: dict(layout.length)}
    return Checkpoint(config, head, params, tokenizer=tokenizer, labels=heads.labels(content, head, notes),
                      max_length=sentence_transformers.max_length(layout, config), source=str(folder), notes=notes,
                      extras=extras, sentence=sentence, carried={name: file for name, file in carried.items() if file})


def lowered(tokenizer: Tokenizer) -> Tokenizer:
    """The tokenizer with text put into lower case before anything else is done to it, unless it does so already."""
    if tokenizer.lower:
        return tokenizer
    content = json.loads(tokenizer.to_json())
    content["normalizer"] = {"type": "Sequence", "normalizers": [
        {"type": "Lowercase"}, *([content["normalizer"]] if content["normalizer"] else [])]}
    return Tokenizer.from_json(json.dumps(content), tokenizer.special, config=tokenizer.config)


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
            # A length's file says what vectors are made of, and the tokenizer what transformers cuts at.
            apart = checkpoint.carried.get(sentence_transformers.LENGTH_FILE, {}).get("max_seq_length") is not None
            checkpoint.tokenizer.save(folder, None if apart else checkpoint.max_length, checkpoint.config.max_length)
        sentence_transformers.write(folder, checkpoint)


def _without_own_code(content: Mapping[str, Any], about: Family) -> dict[str, Any]:
    """config.json without auto_map where all that it names are classes that are computed here."""
    named = content.get("auto_map")
    known = about.own_code and isinstance(named, dict) and all(
        isinstance(name, str) and name.rpartition(".")[2].startswith(about.classes) for name in named.values())
    return {key: value for key, value in content.items() if key != "auto_map" or not known}


def _plain_names(found: Mapping[str, np.ndarray], config: EncoderConfig, folder: Path) -> dict[str, np.ndarray]:
    """Tensors without the model's prefix and with today's names for layer norms."""
    plain: dict[str, np.ndarray] = {}
    for name, tensor in found.items():
        short = name
        for prefix in filter(None, (config.about.prefix, config.about.prefix_now)):
            short = short.removeprefix(f"{prefix}.")
        short = short.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")
        if short in plain:
            raise ModelError(f"{folder} holds the tensor '{short}' twice, with and without its prefix.")
        plain[short] = tensor
    return plain


def _fit_to_tensors(config: EncoderConfig, found: dict[str, np.ndarray], extras: dict[str, np.ndarray],
                    ) -> EncoderConfig:
    """Settle what only the weights tell (pooler, RoBERTa's token type row) and cut RoBERTa's rows for padding."""
    fields = config.to_dict()
    fields["use_pooler"] = f"{config.about.pooler}.weight" in found
    if pad := config.about.padding_rows:
        positions, row = _OUTSIDE_CELLS["encoder.position_weight"], _OUTSIDE_CELLS["token_type_embed.0.weight"]
        if positions in found:
            extras[PAD_ROWS], found[positions] = found[positions][:pad], found[positions][pad:]
        if row not in found or (len(found[row]) == 1 and not any(found[row].tobytes())):
            found.pop(row, None)
            fields["token_type_vocab_size"] = 0
    return EncoderConfig.from_dict(fields)


def _take(found: dict[str, np.ndarray], config: EncoderConfig, wanted: Mapping[str, Any], folder: Path,
          ) -> dict[str, np.ndarray]:
    """Move the wanted tensors from ``found`` into a dict by our names."""
    names = {name: tensor_name(config, name) for name in wanted}
    missing = [theirs for theirs in names.values() if theirs not in found]
    if missing:
        first, lacks = next(iter(found), "nothing"), missing[0].partition("[")[0]
        raise ModelError(f"{folder} lacks {len(missing)} of the {len(names)} tensors of its model, "
                         f"first '{lacks}' (it has '{first}'); its config.json and its weights do not belong "
                         "together, or something is in front of the names.")
    taken = {ours: found[theirs] for ours, theirs in names.items()}
    for theirs in names.values():
        found.pop(theirs, None)  # of several layers it may be the same one
    return taken


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
    pieces = any(path.suffix == ".model" for path in folder.iterdir())  # SentencePiece's own file
    notes.append(f"the folder has no tokenizer (none of {', '.join(TOKENIZER_FILES)})" + (
        "; open and save its tokenizer once with transformers, which writes tokenizer.json." if pieces else "."))
    return None


def _brings_code(checkpoint: Checkpoint) -> bool:
    """Whether the written folder names code of the model's own; else only transformers 5 can open it."""
    return bool(checkpoint.carried.get(CONFIG, {}).get("auto_map"))


def _to_tensors(checkpoint: Checkpoint) -> dict[str, np.ndarray]:
    config, head = checkpoint.config, checkpoint.head
    with_head = head.kind in heads.SUFFIXES
    has_pooler = not with_head or needs_pooler(config, head)
    own_code = _brings_code(checkpoint)
    prefix = config.about.prefix if own_code else config.about.prefix_now or config.about.prefix
    prefix = f"{prefix}." if with_head else ""
    arrays: dict[str, np.ndarray] = {}
    for name, array in checkpoint.params.items():
        if name.startswith(f"{config.root}.pooler.") and not has_pooler:
            continue
        if own_code and name in config.about.words.may_lack and not array.any():
            continue
        inside = name.startswith(f"{config.root}.")
        theirs = (prefix if inside else "") + tensor_name(config, name)
        if not np.array_equal(arrays.setdefault(theirs, array), array):
            raise ModelError(f"the layers of this model differ ('{name}'), and a folder of type {config.family} holds "
                             "one layer for all of them.")
    arrays = _join(arrays)
    if rows := config.about.padding_rows:
        positions = prefix + _OUTSIDE_CELLS["encoder.position_weight"]
        pad = checkpoint.extras.get(PAD_ROWS, np.zeros((rows, config.units)))
        arrays[positions] = np.concatenate([pad.astype(arrays[positions].dtype), arrays[positions]])
    if config.about.most_token_types == 1 and config.about.padding_rows:
        row = np.zeros((1, config.units), arrays[prefix + _OUTSIDE_CELLS["encoder.position_weight"]].dtype)
        arrays.setdefault(prefix + _OUTSIDE_CELLS["token_type_embed.0.weight"], row)
    return arrays


def _config_json(checkpoint: Checkpoint, arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    head, read = checkpoint.head, checkpoint.carried.get(CONFIG, {})
    carried = {name: value for name, value in read.items() if name not in (*heads.FIELDS, "torch_dtype", "dtype")}
    suffix = heads.SUFFIXES.get(head.kind, "Model")
    about = checkpoint.config.about
    classes = about.classes if _brings_code(checkpoint) else about.classes_now or about.classes
    pools = about.head_norm and suffix == heads.SUFFIXES["classification"]
    pooling = {"classifier_pooling": head.pooling} if pools else {}
    return {"architectures": [classes + suffix],
            **checkpoint.config.to_huggingface(carried),
            "torch_dtype": np.result_type(*{array.dtype for array in arrays.values()}).name,
            **heads.fields(head, checkpoint.labels, read), **pooling}
