"""Names, shapes and first values of a network's parameters, from its configuration alone (NumPy only).

The names are those that GluonNLP's blocks save: ``bert.encoder.transformer_cells.0.attention_cell.proj_query.weight``,
``classifier.1.weight`` and so on, with "roberta" in place of "bert" for RoBERTa and its kin, as in its
RoBERTaClassifier.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

import numpy as np

from bertpass.errors import ModelError
from bertpass.model import heads, positions
from bertpass.model.config import EncoderConfig, HeadConfig

Shape = tuple[int, ...]


def _dense(name: str, rows: int, columns: int, bias: bool = True) -> dict[str, Shape]:
    return {f"{name}.weight": (rows, columns), **({f"{name}.bias": (rows,)} if bias else {})}


def _norm(name: str, units: int, bias: bool = True) -> dict[str, Shape]:
    return {f"{name}.gamma": (units,), **({f"{name}.beta": (units,)} if bias else {})}


def encoder_shapes(config: EncoderConfig) -> dict[str, Shape]:
    """Name and shape of each parameter of the encoder with its embeddings and, if it has one, its pooler."""
    units, narrow, root, about = config.units, config.embedding_width, config.root, config.about
    attention, first, second, norms = (part not in about.without_bias
                                       for part in ("attention", "ffn_1", "ffn_2", "norm"))
    shapes: dict[str, Shape] = {f"{root}.word_embed.0.weight": (config.vocab_size, narrow)}
    if config.token_type_vocab_size:
        shapes[f"{root}.token_type_embed.0.weight"] = (config.token_type_vocab_size, narrow)
    if about.positions == "table":
        shapes[f"{root}.encoder.position_weight"] = (config.max_length, narrow)
    if about.distance_buckets:
        shapes[f"{root}.{DISTANCES}"] = (about.distance_buckets, config.num_heads)
    shapes.update(_norm(f"{root}.encoder.layer_norm", narrow, norms))
    if config.embedding_size:
        shapes.update(_dense(f"{root}.{PROJECTION}", units, narrow))
    if about.positions == "relative":
        shapes[f"{root}.{RELATIVE}.weight"] = (2 * config.relative_span, units)
        shapes.update(_norm(f"{root}.{RELATIVE_NORM}", units))
    if about.norm_first:
        shapes.update(_norm(f"{root}.encoder.final_norm", units, norms))
    for layer in range(config.num_layers):
        cell = f"{root}.encoder.transformer_cells.{layer}"
        for part in ("query", "key", "value"):
            shapes.update(_dense(f"{cell}.attention_cell.proj_{part}", units, units, attention))
        shapes.update(_dense(f"{cell}.proj", units, units, attention))
        if layer or not about.norm_first:
            shapes.update(_norm(f"{cell}.layer_norm", units, norms))
        shapes.update(_dense(f"{cell}.ffn.ffn_1", config.hidden_size, units, first))
        if about.gated:
            shapes.update(_dense(f"{cell}.ffn.ffn_3", config.hidden_size, units, first))
        shapes.update(_dense(f"{cell}.ffn.ffn_2", units, config.hidden_size, second))
        shapes.update(_norm(f"{cell}.ffn.layer_norm", units, norms))
    if config.use_pooler:
        shapes.update(_dense(f"{root}.pooler", units, units))
    return shapes


def head_shapes(config: EncoderConfig, head: HeadConfig) -> dict[str, Shape]:
    """Name and shape of each parameter of the head, its pooler's apart: that is the encoder's."""
    shapes: dict[str, Shape] = {}
    depth = config.units
    for layer in heads.own_layers(config, head):
        if not layer.table:
            shapes[layer.weight] = (layer.outputs, depth)
        if not layer.bare:
            shapes[f"{layer.name}.bias"] = (layer.outputs,)
        if layer.norm:
            shapes.update(_norm(layer.norm, layer.outputs, not layer.bare))
        depth = layer.outputs
    return shapes


#: ending of the arrays that calibration adds for the native engine's int8 and no network has
FACTORS = ".int8_factors"


#: from the embeddings to the width of the layers
PROJECTION = "embedding_projection"

#: embeddings of distances, and their normalisation
RELATIVE, RELATIVE_NORM = "encoder.relative_embed", "encoder.relative_norm"

#: a row per range of distances, what attention adds to its scores
DISTANCES = "encoder.relative_attention_bias.weight"


def distance_bias(config: EncoderConfig, params: Mapping[str, np.ndarray]) -> np.ndarray | None:
    """What attention adds to its scores by the distance from query to key: (heads, 2 max_length - 1), float32, with
    distance 0 in the middle; None for a family that adds nothing."""
    if config.about.positions == "alibi":
        far = np.abs(np.arange(1 - config.max_length, config.max_length, dtype=np.float32))
        return -positions.slopes(config.num_heads)[:, None] * far
    if not config.about.distance_buckets:
        return None
    from bertpass import _native  # here, because the rest needs no native code

    return _native.distance_bias(np.ascontiguousarray(params[f"{config.root}.{DISTANCES}"], np.float32),
                                 config.max_length)


def distance_rows(config: EncoderConfig) -> np.ndarray | None:
    """Which row of the table of :data:`DISTANCES` each distance from query to key takes: (2 max_length - 1,), int64,
    with distance 0 in the middle; None for a family that adds nothing."""
    count = config.about.distance_buckets
    if not count:
        return None
    rows = np.repeat(np.arange(count, dtype=np.float32)[:, None], config.num_heads, axis=1)
    found = distance_bias(config, {f"{config.root}.{DISTANCES}": rows})
    return None if found is None else found[0].astype(np.int64)


def relative_rows(config: EncoderConfig) -> np.ndarray | None:
    """Which row of the embeddings :data:`RELATIVE` each distance from query to key takes: (2 max_length - 1,), int64,
    with distance 0 in the middle; None for a family without them."""
    if config.about.positions != "relative":
        return None
    from bertpass import _native

    return np.array(_native.relative_rows(config.position_buckets, config.relative_positions, config.max_length))


def more_than_bert(config: EncoderConfig) -> str:
    """The part of the encoder that BERT's has not, as a clause; empty where there is none."""
    if config.about.beyond_bert:
        return f"{config.about.beyond_bert}, which encoders of the family {config.family} have"
    if config.activation == "silu":
        return "activation function silu, which this encoder has"
    if config.embedding_size:
        return (f"embeddings of another width than the layers, which this encoder has ({config.embedding_size} and "
                f"{config.units})")
    return ""


def on_mxnet(config: EncoderConfig) -> bool:
    """Whether :mod:`bertpass.model.nets` computes the encoder; others are trained through PyTorch and have no graph."""
    return not more_than_bert(config)


def refuse_more_than_bert(config: EncoderConfig, what: str) -> None:
    """Raise a ModelError where the encoder has a part that BERT's has not, and that ``what`` cannot compute."""
    part = more_than_bert(config)
    if part:
        raise ModelError(f"{what} has no {part}; use engine 'native', 'onnxruntime', 'openvino' or 'torch'.")


def refuse_embedded_distances(config: EncoderConfig, what: str) -> None:
    """Raise a ModelError where attention has embeddings of distances, DeBERTa's, and ``what`` cannot compute them."""
    if config.about.positions == "relative":
        raise ModelError(f"{what} has no {more_than_bert(config)}; use engine 'native', 'onnxruntime', 'openvino' or "
                         "'torch'.")


def as_floats(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays in float32, in C order and aligned; one array under several names stays one."""
    made: dict[int, np.ndarray] = {}
    for array in arrays.values():
        if id(array) not in made:
            made[id(array)] = np.require(array, np.float32, ["C", "ALIGNED"])
    return {name: made[id(array)] for name, array in arrays.items()}


def factors_of(params: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What :mod:`bertpass.model.low_precision.calibration` has added to a checkpoint's arrays."""
    return {name: array for name, array in params.items() if name.endswith(FACTORS)}


def network_config(config: EncoderConfig, head: HeadConfig) -> EncoderConfig:
    """``config`` as the network of ``head`` has it: with a pooler only where the head computes from it.

    Raises
    ------
    ModelError
        The head computes from a pooler and the encoder has none.
    """
    pooler = heads.needs_pooler(config, head)
    if pooler and not config.use_pooler:
        raise ModelError(f"a {head.kind} head needs a pooler and this encoder has none; "
                         "bertpass.model.checkpoint.adapt adds a fresh one.")
    return dataclasses.replace(config, use_pooler=pooler)


def shapes(config: EncoderConfig, head: HeadConfig) -> dict[str, Shape]:
    """Name and shape of every parameter of the network of ``head``; ModelError as in :func:`network_config`."""
    return {**encoder_shapes(network_config(config, head)), **head_shapes(config, head)}


def random(wanted: Mapping[str, Shape], seed: int, scale: float = 0.02, random_bias: bool = False,
           ) -> dict[str, np.ndarray]:
    """First values (float32): weights normal(0, ``scale``), biases and betas 0, gammas 1, as in BERT.

    With ``random_bias`` biases and betas are normal(0, 0.1) and gammas normal(1, 0.1): what tests of parity need.
    """
    source = np.random.default_rng(seed)
    made = {}
    for name, shape in wanted.items():
        centre = 1.0 if name.endswith(".gamma") else 0.0
        if name.endswith((".bias", ".beta", ".gamma")):
            spread = 0.1 if random_bias else 0.0
        else:
            spread = scale
        values = source.standard_normal(shape, dtype=np.float32)
        values *= spread
        values += centre
        made[name] = values
    return made


def check(arrays: Mapping[str, np.ndarray], wanted: Mapping[str, Shape], source: str = "the parameters") -> None:
    """Raise a ModelError that names the first parameters that are missing, too many, misshapen or not floating."""
    missing = [name for name in wanted if name not in arrays]
    if missing:
        raise ModelError(f"{source}: {_some(missing)} missing; the network has {len(wanted)} parameters and "
                         f"{len(wanted) - len(missing)} of them are there.")
    extra = [name for name in arrays if name not in wanted]
    if extra:
        raise ModelError(f"{source}: {_some(extra)} not part of this network, which has {len(wanted)} parameters; "
                         "check the model size and the head.")
    for name, shape in wanted.items():
        if arrays[name].shape != tuple(shape):
            raise ModelError(f"{source}: '{name}' has shape {arrays[name].shape} and the network has {tuple(shape)}; "
                             "check the model size and the head.")
        if not np.issubdtype(arrays[name].dtype, np.floating):
            raise ModelError(f"{source}: '{name}' holds {arrays[name].dtype} values where floating ones are needed.")


def _some(names: Iterable[str], most: int = 3) -> str:
    names = list(names)
    shown = ", ".join(f"'{name}'" for name in names[:most])
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{shown}{rest} {'is' if len(names) == 1 else 'are'}"
