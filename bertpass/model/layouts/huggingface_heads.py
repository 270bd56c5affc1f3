"""Heads of Hugging Face folders as config.json describes them: kind, activation, names of the outputs; in and out."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bertpass.errors import ModelError
from bertpass.model.config import CLASSIFIERS, WORD_KINDS, EncoderConfig, HeadConfig
from bertpass.model.families import Words
from bertpass.model.heads import needs_pooler
from bertpass.model.layouts.sentence_transformers import Layout, activation, activation_path
from bertpass.text.data.labels import placeholders

TOKEN_LAYERS = {"span_classifier": "qa_outputs", "tag_classifier": "classifier"}
_MORE = ("ForQuestionAnswering", "ForMultipleChoice")
_SEQUENCE, _TOKENS = "ForSequenceClassification", "ForTokenClassification"  # ends of the classes' names
#: end of the class's name for each kind of head
SUFFIXES = {**dict.fromkeys(CLASSIFIERS, _SEQUENCE), "tokens": _TOKENS, "qa": "ForQuestionAnswering",
            **dict.fromkeys(WORD_KINDS, "ForMaskedLM")}
# How a classifier is trained, as config.json says it. Re-ranking is that of sentence-transformers' cross-encoders: one
# logit, binary cross entropy, and the activation among their own fields (the older field is the first).
_PROBLEMS = {"classification": "single_label_classification", "regression": "regression",
             "multilabel": "multi_label_classification", "ranking": "multi_label_classification"}
_OLD_FIELD, _FIELD = "sbert_ce_default_activation_function", "sentence_transformers"
#: fields that a head decides: what a folder had there is not given back as it was
FIELDS = ("architectures", "id2label", "label2id", "num_labels", "_num_labels", "problem_type", _FIELD, _OLD_FIELD)
TIED = "tie_word_embeddings"


def head(content: Mapping[str, Any], config: EncoderConfig, shapes: Mapping[str, tuple[int, ...]], layout: Layout,
         ) -> HeadConfig:
    """The head that the architecture's name and the tensors agree on.

    Parameters
    ----------
    content : of config.json
    shapes : of the folder's tensors, by their names without the model's prefix
    layout : says whether sentence-transformers wrote a cross-encoder

    Raises
    ------
    ModelError
        config.json asks for an activation or a problem type that is not known.
    """
    names = content.get("architectures")
    architecture = str(names[0]) if isinstance(names, list) and names else ""
    if layout.modules:  # vectors of sentences, whatever else is in the weights
        return HeadConfig("none")
    if config.about.head_norm:
        return _by_class(content, architecture, config, shapes, layout)
    layers = [f"{layer}.weight" for layer in config.classifier.tensors.values()]
    if "qa_outputs.weight" in shapes:
        return HeadConfig("qa")
    has_pooler = config.use_pooler or not needs_pooler(config, HeadConfig("regression"))
    whole = has_pooler and all(layer in shapes for layer in layers)
    if whole and (not architecture or architecture.endswith(_SEQUENCE)):
        return _classifier(content, shapes[layers[-1]][0], layout)
    if "classifier.weight" in shapes and (not architecture or architecture.endswith(_TOKENS)):
        return HeadConfig("tokens", num_labels=shapes["classifier.weight"][0])
    if layout.is_cross_encoder:
        raise ModelError(f"{layout.encoder} is a cross-encoder without the weights of a classifier.")
    return HeadConfig("none")


def _by_class(content: Mapping[str, Any], architecture: str, config: EncoderConfig,
              shapes: Mapping[str, tuple[int, ...]], layout: Layout) -> HeadConfig:
    """The head of a family whose heads all have the same tensors: the name of the class tells them apart."""
    last = config.classifier.tensors[config.classifier.last]
    outputs = shapes.get(f"{last}.weight", (0,))[0]
    ranks = layout.is_cross_encoder and not architecture.endswith((_TOKENS, *_MORE))
    if outputs and (architecture.endswith(_SEQUENCE) or ranks):
        pooling = content.get("classifier_pooling") or "cls"
        return dataclasses.replace(_classifier(content, outputs, layout), pooling=pooling)
    if outputs and architecture.endswith(_TOKENS):
        return HeadConfig("tokens", num_labels=outputs)
    if outputs == 2 and architecture.endswith(_MORE[0]):
        return HeadConfig("qa")
    if outputs or layout.is_cross_encoder:
        raise ModelError(f"{layout.encoder} has {'the' if outputs else 'no'} weights of a head, and its config.json "
                         f"says architectures {architecture or 'nothing'}; it must be a {config.about.classes}"
                         f"{_SEQUENCE}, {_TOKENS} or {_MORE[0]} with its weights.")
    return HeadConfig("none")


def token_layer(config: EncoderConfig, name: str) -> str:
    """The tensor in a folder of a layer of :data:`TOKEN_LAYERS`."""
    classifier = config.classifier
    return classifier.tensors[classifier.last] if config.about.head_norm else TOKEN_LAYERS[name]


def words(head: HeadConfig, content: Mapping[str, Any], config: EncoderConfig, found: dict[str, Any], folder: Path,
          ) -> HeadConfig:
    """The head of masked words with what config.json says of it; in ``found`` its tensors, each once, get the names
    that are read.

    Raises
    ------
    ModelError
        The folder has no weights of it, or two of its tensors should be one and differ.
    """
    names = config.about.words
    others = _renamed(names, content, found)
    if f"{names.tensors['decoder.0']}.weight" not in found:
        raise ModelError(f"{folder} has no weights of a head of masked words "
                         f"('{names.tensors['decoder.0']}.weight'); give the folder of a "
                         f"{config.about.classes}ForMaskedLM, or leave out kind '{head.kind}'.")
    tied = others or content.get(TIED) is not False
    table = config.about.outside.get("word_embed.0.weight", "embeddings.word_embeddings.weight")
    decoder = names.tensors["decoder.3"]
    for name, other in (([(f"{decoder}.weight", table)] if tied else [])
                        + ([(f"{decoder}.bias", names.bias)] if names.bias else [])):
        second = found.pop(name, None)
        if second is not None and not np.array_equal(found.setdefault(other, second), second):
            raise ModelError(f"{folder} holds '{name}' and '{other}', which are one tensor and differ"
                             + (f"; write {TIED} false into its config.json to have both." if other == table else "."))
    for name in names.may_lack:
        layer, count = name.removesuffix(".bias"), config.vocab_size if name == "decoder.3.bias" else config.units
        found.setdefault(names.bias if layer == "decoder.3" else f"{names.tensors[layer]}.bias",
                         np.zeros(count, np.float32))
    return dataclasses.replace(head, tied=tied)


def _renamed(names: Words, content: Mapping[str, Any], found: dict[str, Any]) -> bool:
    """Give tensors of the family's other form of the head the names of the first one; whether they are of the other.

    A folder that has both is read as transformers does, by ``legacy`` of config.json.
    """
    others = {f"{other}.{kind}": f"{name}.{kind}" for other, name in names.other_tensors.items()
              for kind in ("weight", "bias") if f"{other}.{kind}" in found}
    both = any(name in found for name in others.values())
    if not others or (both and content.get("legacy") is not False):
        return False
    for kind in ("weight", "bias"):
        found.pop(f"{names.tensors['decoder.3']}.{kind}", None)
    for other, name in others.items():
        found[name] = found.pop(other)
    return True


def _classifier(content: Mapping[str, Any], outputs: int, layout: Layout) -> HeadConfig:
    said = content.get("problem_type")
    if said is not None and said not in _PROBLEMS.values():
        raise ModelError(f"config.json says problem_type '{said}'; it is one of "
                         f"{', '.join(dict.fromkeys(_PROBLEMS.values()))}.")
    own = content.get(_FIELD)
    crosses = layout.is_cross_encoder or _OLD_FIELD in content or isinstance(own, dict)
    scores = ""
    if crosses:
        path = said_activation(content, layout.settings)
        crosses = layout.is_cross_encoder or path is not None or said != "regression"
    if crosses:
        scores = activation(path) if path is not None else "sigmoid" if outputs == 1 else "identity"
    if outputs == 1:
        ranks = crosses or said == _PROBLEMS["ranking"]
        kind = "ranking" if ranks else "regression"
    elif said == "regression":
        kind = "regression"
    else:
        kind = "multilabel" if said == _PROBLEMS["multilabel"] else "classification"
    return HeadConfig(kind, num_labels=outputs, activation=scores)


def said_activation(content: Mapping[str, Any], settings: Mapping[str, Any]) -> Any:
    """What config.json and config_sentence_transformers.json say is the activation of a cross-encoder's outputs, as the
    library writes it; None where they do not say it."""
    own = content.get(_FIELD)
    inside = own.get("activation_fn") if isinstance(own, dict) else None
    return settings.get("activation_fn") or inside or content.get(_OLD_FIELD)


def labels(content: Mapping[str, Any], head: HeadConfig, notes: list[str]) -> list[str] | None:
    """The outputs' names in the order of their ids, or None where all are the placeholders LABEL_0 and so on."""
    count = head.num_labels
    if not count or head.kind == "ranking" or (head.kind == "regression" and count == 1):
        return None
    found = _named(content, count)
    strange = sorted(set(_table(content)) - {str(at) for at in range(count)})
    if strange:
        notes.append(f"config.json's id2label names the output {strange[0]}, and the head has {count} (0 to "
                     f"{count - 1}); outputs without a name are called LABEL_0 and so on.")
    if found == placeholders(count):
        return None
    return found if head.kind == "tokens" else _told_apart(found, notes)


def _told_apart(names: list[str], notes: list[str]) -> list[str]:
    """The names, with the output's number behind those that occurred before."""
    told = [name if name not in names[:at] else f"{name} (output {at})" for at, name in enumerate(names)]
    if told != names:
        again = next(name for name, other in zip(told, names, strict=True) if name != other)
        notes.append(f"config.json's id2label gives several outputs one name; the second is called '{again}' here.")
    return told


def fields(head: HeadConfig, labels: list[str] | None, carried: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of config.json that say the same; ``carried`` are those that the folder had."""
    content: dict[str, Any] = {}
    if head.num_labels:
        names = labels or placeholders(head.num_labels)
        given = _named(carried, head.num_labels)
        if labels == _told_apart(given, []):
            names = given  # as they were before they were told apart
        content["id2label"] = {str(at): name for at, name in enumerate(names)}
        content["label2id"] = {name: at for at, name in enumerate(names)}
    if head.kind in _PROBLEMS:
        content["problem_type"] = _PROBLEMS[head.kind]
    if head.kind in WORD_KINDS:
        content[TIED] = head.tied
        if carried.get("legacy") is not None:
            content["legacy"] = True  # the form of the head that is written
    elif head.kind == "ranking" or head.activation:
        own = carried.get(_FIELD)
        content[_FIELD] = {**(own if isinstance(own, dict) else {}),
                           "activation_fn": activation_path(head)}
    return content


def _table(content: Mapping[str, Any]) -> dict[str, str]:
    """id2label by the output's number as a text, else label2id the other way round; a name that is null is none."""
    table, ids = content.get("id2label"), content.get("label2id")
    if table is None and isinstance(ids, dict):
        table = {at: name for name, at in ids.items()}
    if isinstance(table, list):
        table = dict(enumerate(table))
    if not isinstance(table, dict | None):
        raise ModelError(f"config.json's id2label is {table!r:.40}; expected an object with a name for every output.")
    return {str(key): str(name) for key, name in (table or {}).items() if name is not None}


def _named(content: Mapping[str, Any], count: int) -> list[str]:
    """The outputs' names as the file has them."""
    table = _table(content)
    return [table.get(str(at), placeholder) for at, placeholder in enumerate(placeholders(count))]
