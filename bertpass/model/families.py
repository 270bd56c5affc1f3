"""The families of encoders that are computed, as data: to add one, add its entry.

A family is one ``model_type`` of Hugging Face. Several may be one network: XLM-R and CamemBERT are RoBERTa's with other
vocabularies.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Classifier:
    """The two layers of a classifier on the first token's state: ``last(activation(first(state)))``.

    Attributes
    ----------
    first, last : names of their parameters; where ``pooled``, the first one is the encoder's pooler
    activation : "tanh", "relu" or "gelu"
    tensors : name of a layer -> name in a Hugging Face folder, the pooler not among them
    """

    first: str
    activation: str
    last: str
    tensors: Mapping[str, str]

    @property
    def pooled(self) -> bool:
        """Whether the first layer is the encoder's pooler."""
        return self.first not in self.tensors


@dataclass(frozen=True)
class Words:
    """The head of masked words: a layer with its normalisation, then the logits of all words.

    Attributes
    ----------
    activation : of the first layer; empty for the encoder's own
    tensors : "decoder.0" (the layer), "decoder.2" (its normalisation), "decoder.3" (the words) -> name in a Hugging
        Face folder
    bias : where a folder has the words' bias, if not with their weights
    """

    tensors: Mapping[str, str]
    bias: str = ""
    activation: str = ""


@dataclass(frozen=True)
class Family:
    """What tells a family of encoders from the others.

    Attributes
    ----------
    classes : what the names of transformers' classes begin with
    prefix : first part of the names of a folder's tensors, where the folder has a head
    root : first part of the names of the encoder's parameters, GluonNLP's
    classifier : the layers of its classifiers
    words : its head of masked words, None where that is not computed
    keys : field of :class:`~bertpass.model.config.EncoderConfig` -> key of config.json
    activation_key : key of config.json with the activation function
    cells, cell : where the layers' tensors are in a folder, and there the name of each part of ours
    takes_token_types : whether token types are an input
    most_token_types : rows that the table of token types can have, None for any number
    pad_id : id of padding, after which positions are counted: that many rows and one more of the table of positions
        belong to no text; None where positions begin with 0
    layer_norm_eps : as the published models have it
    pooler : where a folder has the pooler
    shared : whether one layer's weights are those of every layer
    projection : where a folder has the layer from the embeddings to the width of the layers; empty for a family whose
        embeddings have that width
    always_projected : whether the projection is there also for embeddings of that width
    activation : key's value where config.json has none
    distance_buckets : rows of the one table from which every layer's attention takes a bias by distance, 0 for none
    fields : further keys of a config.json that is written here
    """

    classes: str
    prefix: str
    root: str
    classifier: Classifier
    keys: Mapping[str, str]
    activation_key: str
    cells: str
    cell: Mapping[str, str]
    words: Words | None = None
    takes_token_types: bool = False
    most_token_types: int | None = 0
    pad_id: int | None = None
    layer_norm_eps: float = 1e-12
    pooler: str = "pooler.dense"
    shared: bool = False
    projection: str = ""
    always_projected: bool = False
    activation: str = "gelu"
    distance_buckets: int = 0
    fields: Mapping[str, Any] = field(default_factory=dict)

    @property
    def padding_rows(self) -> int:
        """Rows of the table of positions that no text uses."""
        return 0 if self.pad_id is None else self.pad_id + 1


_BERT = Family(
    classes="Bert", prefix="bert", root="bert",
    classifier=Classifier("bert.pooler", "tanh", "classifier.1", {"classifier.1": "classifier"}),
    keys={"num_layers": "num_hidden_layers", "units": "hidden_size", "hidden_size": "intermediate_size",
          "num_heads": "num_attention_heads", "max_length": "max_position_embeddings", "vocab_size": "vocab_size",
          "token_type_vocab_size": "type_vocab_size", "layer_norm_eps": "layer_norm_eps",
          "dropout": "hidden_dropout_prob"},
    activation_key="hidden_act", cells="encoder.layer",
    words=Words({"decoder.0": "cls.predictions.transform.dense", "decoder.2": "cls.predictions.transform.LayerNorm",
                 "decoder.3": "cls.predictions.decoder"}, bias="cls.predictions.bias"),
    cell={"attention_cell.proj_query": "attention.self.query", "attention_cell.proj_key": "attention.self.key",
          "attention_cell.proj_value": "attention.self.value", "proj": "attention.output.dense",
          "layer_norm": "attention.output.LayerNorm", "ffn.ffn_1": "intermediate.dense", "ffn.ffn_2": "output.dense",
          "ffn.layer_norm": "output.LayerNorm"},
    takes_token_types=True, most_token_types=None)

_DISTILBERT = Family(
    classes="DistilBert", prefix="distilbert", root="bert",
    classifier=Classifier("pre_classifier", "relu", "classifier.1",
                          {"pre_classifier": "pre_classifier", "classifier.1": "classifier"}),
    keys={"num_layers": "n_layers", "units": "dim", "hidden_size": "hidden_dim", "num_heads": "n_heads",
          "max_length": "max_position_embeddings", "vocab_size": "vocab_size", "dropout": "dropout"},
    activation_key="activation", cells="transformer.layer",
    words=Words({"decoder.0": "vocab_transform", "decoder.2": "vocab_layer_norm", "decoder.3": "vocab_projector"}),
    cell={"attention_cell.proj_query": "attention.q_lin", "attention_cell.proj_key": "attention.k_lin",
          "attention_cell.proj_value": "attention.v_lin", "proj": "attention.out_lin", "layer_norm": "sa_layer_norm",
          "ffn.ffn_1": "ffn.lin1", "ffn.ffn_2": "ffn.lin2", "ffn.layer_norm": "output_layer_norm"})

_ROBERTA = dataclasses.replace(
    _BERT, classes="Roberta", prefix="roberta", root="roberta",
    classifier=Classifier("classifier.1", "tanh", "classifier.3",
                          {"classifier.1": "classifier.dense", "classifier.3": "classifier.out_proj"}),
    words=Words({"decoder.0": "lm_head.dense", "decoder.2": "lm_head.layer_norm", "decoder.3": "lm_head.decoder"},
                bias="lm_head.bias", activation="gelu"),
    takes_token_types=False, most_token_types=1, pad_id=1, layer_norm_eps=1e-5,
    fields={"bos_token_id": 0, "eos_token_id": 2})

_MPNET = dataclasses.replace(
    _ROBERTA, classes="MPNet", prefix="mpnet", root="bert",
    keys={ours: theirs for ours, theirs in _ROBERTA.keys.items() if ours != "token_type_vocab_size"},
    cell={"attention_cell.proj_query": "attention.attn.q", "attention_cell.proj_key": "attention.attn.k",
          "attention_cell.proj_value": "attention.attn.v", "proj": "attention.attn.o",
          "layer_norm": "attention.LayerNorm", "ffn.ffn_1": "intermediate.dense", "ffn.ffn_2": "output.dense",
          "ffn.layer_norm": "output.LayerNorm"},
    most_token_types=0, distance_buckets=32,
    fields={**_ROBERTA.fields, "relative_attention_num_buckets": 32})

_ELECTRA = dataclasses.replace(
    _BERT, classes="Electra", prefix="electra",
    classifier=dataclasses.replace(_ROBERTA.classifier, activation="gelu"),
    keys={**_BERT.keys, "embedding_size": "embedding_size"}, projection="embeddings_project",
    words=Words({"decoder.0": "generator_predictions.dense", "decoder.2": "generator_predictions.LayerNorm",
                 "decoder.3": "generator_lm_head"}, activation="gelu"))

_ALBERT = dataclasses.replace(
    _ELECTRA, classes="Albert", prefix="albert", classifier=_BERT.classifier,
    cells="encoder.albert_layer_groups.0.albert_layers",
    cell={"attention_cell.proj_query": "attention.query", "attention_cell.proj_key": "attention.key",
          "attention_cell.proj_value": "attention.value", "proj": "attention.dense",
          "layer_norm": "attention.LayerNorm", "ffn.ffn_1": "ffn", "ffn.ffn_2": "ffn_output",
          "ffn.layer_norm": "full_layer_layer_norm"},
    words=Words({"decoder.0": "predictions.dense", "decoder.2": "predictions.LayerNorm",
                 "decoder.3": "predictions.decoder"}, bias="predictions.bias"),
    pooler="pooler", shared=True, projection="encoder.embedding_hidden_mapping_in", always_projected=True,
    activation="gelu_new", fields={"num_hidden_groups": 1, "inner_group_num": 1, "bos_token_id": 2, "eos_token_id": 3})

#: by model_type, sorted
FAMILIES: Mapping[str, Family] = {
    "albert": _ALBERT,
    "bert": _BERT,
    "camembert": dataclasses.replace(_ROBERTA, classes="Camembert", fields={"bos_token_id": 5, "eos_token_id": 6}),
    "distilbert": _DISTILBERT,
    "electra": _ELECTRA,
    "mpnet": _MPNET,
    "roberta": _ROBERTA,
    "xlm-roberta": dataclasses.replace(_ROBERTA, classes="XLMRoberta"),
}
