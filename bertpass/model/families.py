"""The families of encoders that are computed, as data: to add one, add its entry.

A family is one ``model_type`` of Hugging Face. Several may be one network: XLM-R and CamemBERT are RoBERTa's with other
vocabularies.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bertpass.errors import ModelError


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
    may_lack : biases that a folder of the models' own code does not have; they are zero then
    other_tensors : other names of tensors in front of "weight" and "bias" -> those above; such a folder has no weights
        of the words apart from their table
    """

    tensors: Mapping[str, str]
    bias: str = ""
    activation: str = ""
    may_lack: tuple[str, ...] = ()
    other_tensors: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Family:
    """What tells a family of encoders from the others.

    Attributes
    ----------
    classes : what the names of transformers' classes begin with
    prefix : first part of the names of a folder's tensors, where the folder has a head
    root : first part of the names of the encoder's parameters, GluonNLP's
    classifier : the layers of its classifiers
    words : its head of masked words
    keys : field of :class:`~bertpass.model.config.EncoderConfig` -> key of config.json
    activation_key : key of config.json with the activation function
    activations : the family's own names of activation functions -> ours, where only these are computed
    keys_now, prefix_now, classes_now, model_type_now : ``keys``, ``prefix``, ``classes`` and the family's name of
        transformers 5, where they differ; there the activation function stands under BERT's key
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
    positions : how tokens know their place: a "table" that is added to the words; "rotary": queries and keys are turned
        by an angle that grows with it (Su et al., arXiv:2104.09864); "alibi": scores fall with the distance, in each
        head by its own slope (Press et al., arXiv:2108.12409); "relative": scores get products of queries and keys with
        embeddings of the distance (He et al., arXiv:2006.03654)
    norm_first : whether a layer normalises what its two halves read, and the encoder its end, in place of the sums; the
        first layer then reads the embeddings' norm as it is
    gated : whether the feed-forward layer is ``ffn_2(activation(ffn_1(x)) * ffn_3(x))`` (Shazeer, arXiv:2002.05202)
    without_bias : which parameters have no bias: "attention" (query, key, value and the projection), "ffn_1" (and
        ffn_3), "ffn_2", "norm"
    fused : tensor of a layer in a folder -> our parts that stand in it one after the other
    outside : name of a parameter outside the layers -> tensor, where it differs from BERT's
    fields : further keys of a config.json that is written here
    model_type : in config.json, where it is not the family's name
    own_code : whether its models bring their code with them, which is what is computed here
    head_norm : name of the normalisation behind the classifier's first layer, where that layer has no bias and is the
        first one of tags and answers too; such a classifier computes from the first token or from the mean
    """

    classes: str
    prefix: str
    root: str
    classifier: Classifier
    keys: Mapping[str, str]
    activation_key: str
    cells: str
    cell: Mapping[str, str]
    words: Words
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
    positions: str = "table"
    norm_first: bool = False
    gated: bool = False
    without_bias: frozenset[str] = frozenset()
    fused: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    outside: Mapping[str, str] = field(default_factory=dict)
    fields: Mapping[str, Any] = field(default_factory=dict)
    model_type: str = ""
    activations: Mapping[str, str] = field(default_factory=dict)
    keys_now: Mapping[str, str] = field(default_factory=dict)
    prefix_now: str = ""
    classes_now: str = ""
    model_type_now: str = ""
    own_code: bool = False
    head_norm: str = ""

    @property
    def padding_rows(self) -> int:
        """Rows of the table of positions that no text uses."""
        return 0 if self.pad_id is None else self.pad_id + 1

    @property
    def beyond_bert(self) -> str:
        """What its layers have that BERT's do not, for a sentence with "no"; empty where they are BERT's."""
        parts = {"bias of attention by distance": self.distance_buckets or self.positions == "alibi",
                 "attention with embeddings of distances": self.positions == "relative",
                 "rotary positions": self.positions == "rotary", "gated feed-forward layers": self.gated,
                 "normalisation before each half of a layer": self.norm_first}
        return " and no ".join(name for name, there in parts.items() if there)


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

_QKV = ("attention_cell.proj_query", "attention_cell.proj_key", "attention_cell.proj_value")

_MODERNBERT = dataclasses.replace(
    _BERT, classes="ModernBert", prefix="model",
    classifier=Classifier("classifier.1", "gelu", "classifier.3",
                          {"classifier.1": "head.dense", "classifier.2": "head.norm", "classifier.3": "classifier"}),
    words=Words({"decoder.0": "head.dense", "decoder.2": "head.norm", "decoder.3": "decoder"}, activation="gelu"),
    keys={**{ours: theirs for ours, theirs in _BERT.keys.items() if ours != "token_type_vocab_size"},
          "layer_norm_eps": "norm_eps", "dropout": "mlp_dropout"},
    activation_key="hidden_activation", cells="layers",
    cell={"proj": "attn.Wo", "layer_norm": "attn_norm", "ffn.ffn_2": "mlp.Wo", "ffn.layer_norm": "mlp_norm"},
    fused={"attn.Wqkv": _QKV, "mlp.Wi": ("ffn.ffn_1", "ffn.ffn_3")},
    outside={"word_embed.0.weight": "embeddings.tok_embeddings.weight",
             "encoder.layer_norm.gamma": "embeddings.norm.weight",
             "encoder.final_norm.gamma": "final_norm.weight"},
    takes_token_types=False, most_token_types=0, layer_norm_eps=1e-5, positions="rotary", norm_first=True, gated=True,
    without_bias=frozenset({"attention", "ffn_1", "ffn_2", "norm"}), head_norm="classifier.2",
    fields={"attention_bias": False, "mlp_bias": False, "norm_bias": False})

_NOMIC = dataclasses.replace(
    _BERT, classes="NomicBert",
    words=Words({**_BERT.words.tensors, "decoder.2": "cls.predictions.transform.layer_norm"},
                bias="cls.predictions.bias", may_lack=("decoder.0.bias", "decoder.3.bias")),
    keys={"num_layers": "n_layer", "units": "n_embd", "hidden_size": "n_inner", "num_heads": "n_head",
          "max_length": "n_positions", "vocab_size": "vocab_size", "token_type_vocab_size": "type_vocab_size",
          "layer_norm_eps": "layer_norm_epsilon", "dropout": "resid_pdrop"},
    activation_key="activation_function", cells="encoder.layers",
    cell={"proj": "attn.out_proj", "layer_norm": "norm1", "ffn.ffn_1": "mlp.fc12", "ffn.ffn_3": "mlp.fc11",
          "ffn.ffn_2": "mlp.fc2", "ffn.layer_norm": "norm2"},
    fused={"attn.Wqkv": _QKV},
    outside={"encoder.layer_norm.gamma": "emb_ln.weight", "encoder.layer_norm.beta": "emb_ln.bias"},
    positions="rotary", gated=True, without_bias=frozenset({"attention", "ffn_1", "ffn_2"}), own_code=True,
    activations={"swiglu": "silu", "geglu": "gelu"}, keys_now=_BERT.keys, prefix_now="nomic_bert",
    fields={"prenorm": False, "qkv_proj_bias": False, "mlp_fc1_bias": False, "mlp_fc2_bias": False, "causal": False,
            "use_rms_norm": False, "parallel_block": False})

_GTE = dataclasses.replace(
    _BERT, classes="New", prefix="new",
    words=Words({"decoder.0": "lm_head.dense", "decoder.2": "lm_head.norm", "decoder.3": "lm_head.decoder"}),
    cell={"proj": "attention.o_proj", "layer_norm": "attn_ln", "ffn.ffn_2": "mlp.down_proj",
          "ffn.layer_norm": "mlp_ln"},
    fused={"attention.qkv_proj": _QKV, "mlp.up_gate_proj": ("ffn.ffn_3", "ffn.ffn_1")},
    takes_token_types=False, most_token_types=1, positions="rotary", gated=True, without_bias=frozenset({"ffn_1"}),
    own_code=True, fields={"layer_norm_type": "layer_norm", "pack_qkv": True}, prefix_now="gte", classes_now="Gte",
    model_type_now="gte")

_JINA = dataclasses.replace(
    _BERT, classes="JinaBert",
    cell={**_BERT.cell, "ffn.ffn_2": "mlp.wo", "ffn.layer_norm": "mlp.layernorm"},
    fused={"mlp.gated_layers": ("ffn.ffn_1", "ffn.ffn_3")},
    positions="alibi", gated=True, without_bias=frozenset({"ffn_1"}),
    fields={"feed_forward_type": "geglu"}, activations={"gelu": "gelu"}, own_code=True, model_type="bert")

_DEBERTA = dataclasses.replace(
    _BERT, classes="DebertaV2", prefix="deberta",
    words=dataclasses.replace(_BERT.words, other_tensors={
        "lm_predictions.lm_head.dense": "cls.predictions.transform.dense",
        "lm_predictions.lm_head.LayerNorm": "cls.predictions.transform.LayerNorm",
        "lm_predictions.lm_head": "cls.predictions"}),
    classifier=Classifier("classifier.1", "gelu", "classifier.3",
                          {"classifier.1": "pooler.dense", "classifier.3": "classifier"}),
    keys={ours: theirs for ours, theirs in _BERT.keys.items() if ours != "token_type_vocab_size"},
    cell={**_BERT.cell, "attention_cell.proj_query": "attention.self.query_proj",
          "attention_cell.proj_key": "attention.self.key_proj",
          "attention_cell.proj_value": "attention.self.value_proj"},
    takes_token_types=False, most_token_types=0, layer_norm_eps=1e-7, pooler="", positions="relative",
    fields={"relative_attention": True, "share_att_key": True, "position_biased_input": False,
            "norm_rel_ebd": "layer_norm", "pos_att_type": "p2c|c2p", "type_vocab_size": 0, "pooler_hidden_act": "gelu"})

#: by model_type, sorted
FAMILIES: Mapping[str, Family] = {
    "albert": _ALBERT,
    "bert": _BERT,
    "camembert": dataclasses.replace(_ROBERTA, classes="Camembert", fields={"bos_token_id": 5, "eos_token_id": 6}),
    "deberta-v2": _DEBERTA,
    "distilbert": _DISTILBERT,
    "electra": _ELECTRA,
    "jina_bert": _JINA,
    "modernbert": _MODERNBERT,
    "mpnet": _MPNET,
    "new": _GTE,
    "nomic_bert": _NOMIC,
    "roberta": _ROBERTA,
    "xlm-roberta": dataclasses.replace(_ROBERTA, classes="XLMRoberta"),
}

#: how config.json says where tokens know their place from; ModernBERT and Nomic's code do not read it
_POSITIONS = {"table": ("absolute",), "rotary": ("rope",), "alibi": ("alibi",), "relative": ("absolute",)}
_UNREAD = {"modernbert": ("absolute", "rope"), "nomic_bert": ("absolute", "rope")}


def family_of(content: Mapping[str, Any]) -> str:
    """The family that a config.json describes.

    Raises
    ------
    ModelError
        It is none of :data:`FAMILIES`, or has positions or feed-forward layers of another kind than its family.
    """
    name = content.get("model_type", "bert")
    now = {about.model_type_now: family for family, about in FAMILIES.items() if about.model_type_now}
    name = now.get(name, name) if isinstance(name, str) else name
    said = content.get("position_embedding_type")
    if name == "bert" and said == "alibi":
        name = "jina_bert"
    known = [family for family, about in FAMILIES.items() if not about.model_type]
    if not isinstance(name, str) or name not in FAMILIES or (name not in known and said != "alibi"):
        raise ModelError(f"config.json says model type '{name}'; only {', '.join(sorted([*known, *now]))} can be read. "
                         "Take a model of one of these families.")
    wanted = _UNREAD.get(name, _POSITIONS[FAMILIES[name].positions])
    if said not in (None, *wanted):
        raise ModelError(f"config.json says position_embedding_type '{said}'; only '{wanted[0]}' can be read in a "
                         f"model of type {name}.")
    return name
