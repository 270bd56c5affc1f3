"""Tiny models with random non-zero biases, and their outputs by NumPy in float64, one unpadded row at a time."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import erf

from bertpass.model import parameters
from bertpass.model.config import EncoderConfig, HeadConfig
from bertpass.model.families import FAMILIES
from bertpass.model.heads import needs_pooler
from bertpass.model.record import Checkpoint

#: families without those that are the network of another one by another name
NETWORKS = [family for family in FAMILIES if family not in ("camembert", "xlm-roberta")]
HEADS = {
    "none": HeadConfig("none"), "pooled": HeadConfig("pooled"), "qa": HeadConfig("qa"),
    "classification": HeadConfig("classification", num_labels=3), "regression": HeadConfig("regression"),
    "tokens": HeadConfig("tokens", num_labels=19), "ranking": HeadConfig("ranking"),
    "mean": HeadConfig("embedding"), "mean_norm": HeadConfig("embedding", normalize=True),
    "cls_norm": HeadConfig("embedding", pooling="cls", normalize=True),
}
#: heads of masked words
WORDS = {"mlm": HeadConfig("mlm"), "untied": HeadConfig("mlm", tied=False), "sparse": HeadConfig("sparse"),
         "sum": HeadConfig("sparse", pooling="sum", activation="log1p_relu")}
#: odd on purpose: no width is a multiple of a vector
SIZES = {"num_layers": 2, "units": 36, "hidden_size": 50, "num_heads": 3, "max_length": 40, "vocab_size": 61}


#: of the families that are not BERT's layers; with few layers both kinds of them
FIELDS = {"deberta-v2": {"position_buckets": 8, "relative_positions": 20},
          "modernbert": {"num_layers": 3, "window": 3, "global_every": 2, "rope_theta": 160.0,
                         "rope_local_theta": 10.0},
          "new": {"rope_theta": 90.0, "rope_factor": 2.0}, "nomic_bert": {"rope_theta": 100.0, "activation": "silu"}}

#: Relative error of most rows against :func:`outputs` with the engine's rounding: both round the same values, so that
#: what is left is float32's own. The others have a value that was rounded the other way, see :func:`flip`.
AGREEING = 2e-6


def tiny(family: str = "bert", head: str = "none", seed: int = 3, **fields) -> Checkpoint:
    """A checkpoint of random values, none of them zero."""
    kind = {**HEADS, **WORDS}[head]
    config = EncoderConfig(**{
        **SIZES, "family": family, "layer_norm_eps": FAMILIES[family].layer_norm_eps,
        "token_type_vocab_size": 2 if FAMILIES[family].takes_token_types else FAMILIES[family].most_token_types,
        "embedding_size": 20 if FAMILIES[family].projection else 0, **FIELDS.get(family, {}), **fields})
    config = EncoderConfig(**{**config.to_dict(), "use_pooler": needs_pooler(config, kind)})
    wanted = {**parameters.encoder_shapes(config), **parameters.head_shapes(config, kind)}
    # The product of two numbers spreads what rounding changes: smaller ones, so that it costs as much as elsewhere.
    scale = (1.0 if config.about.gated else 1.5) / np.sqrt(config.units)
    arrays = parameters.random(wanted, seed, scale=scale, random_bias=True)
    if FAMILIES[family].shared:
        arrays = {name: arrays[re.sub(r"cells\.\d+\.", "cells.0.", name)] for name in arrays}
    if config.about.distance_buckets:
        arrays[f"{config.root}.{parameters.DISTANCES}"] *= np.float32(0.8 / scale)  # as wide as scores are
    return Checkpoint(config, kind, arrays, source="tiny")


def batch(config: EncoderConfig, lengths, length=None, seed=0):
    """ids, token types and valid lengths; the padding holds ids that would change the result if they were read."""
    source, lengths = np.random.default_rng(seed), np.asarray(lengths, np.int32)
    shape = (len(lengths), length or int(lengths.max()))
    ids = source.integers(0, config.vocab_size, shape).astype(np.int32)
    types = source.integers(0, max(config.token_type_vocab_size, 1), shape).astype(np.int32)
    return ids, types, lengths


ACTIVATIONS = {
    "none": lambda x: x,
    "gelu": lambda x: 0.5 * x * (1 + erf(x / np.sqrt(2))),
    "gelu_tanh": lambda x: 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x ** 3))),
    "relu": lambda x: np.maximum(x, 0),
    "silu": lambda x: x / (1 + np.exp(-x)),
    "tanh": np.tanh,
}


def gelu_coarse(x):
    """GELU with the engine's polynomial for the normal distribution's function (kernels.h), in float64."""
    t = np.clip(x, -4.25, 4.25)
    p = np.polyval([-8.3544921e-10, 7.49957394e-08, -2.91951642e-06, 6.52587405e-05, -0.000938415353, 0.00924968906,
                    -0.0654382929, 0.398410618], t * t)
    return x * np.maximum(0.5 + t * p, 0)


def softmax(x, low=lambda e: e):
    e = np.exp(x - x.max(-1, keepdims=True, initial=-np.inf))
    return low(e) / e.sum(-1, keepdims=True)


def layer_norm(x, gamma, beta, epsilon):
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + epsilon) * gamma + beta


def to_bfloat16(x):
    """float32 values rounded to bfloat16, to nearest even."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32).astype(np.uint64)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32)


def to_bytes(x):
    """Rows rounded to 256 levels between their least and their largest element, zero among them.

    In float32 and by products with the inverse of the scale, as the engine does it: rows of bfloat16 are often in the
    middle between two levels, and go to the same one only so.
    """
    x = np.asarray(x, np.float32)
    least, most = np.minimum(x.min(-1, keepdims=True), 0), np.maximum(x.max(-1, keepdims=True), 0)
    scale = np.where(most > least, (most - least) / np.float32(255), np.float32(1))
    inverse = 1 / scale
    zero = np.round(-least * inverse)
    return (np.clip(np.round(x * inverse) + zero, 0, 255) - zero).astype(np.float64) * scale


def weight_scales(weight):
    """(output channels, 1): of each row's elements and sums of pairs (2 k, 2 k + 1) the largest is 127 times this."""
    even, odd = weight[:, 0::2].copy(), weight[:, 1::2]
    even[:, :odd.shape[1]] += odd  # the last of an odd number is no pair
    largest = np.maximum(np.abs(weight).max(-1, keepdims=True), np.abs(even).max(-1, keepdims=True))
    return np.where(largest > 0, largest / 127, 1)


def to_signed_bytes(weight):
    """Rows (output channels) rounded to 255 levels, symmetric."""
    scale = weight_scales(weight)
    return np.round(weight / scale) * scale


def flip(dtype: str, isa: str) -> float:
    """How far a result may be from :func:`outputs` with this rounding, as a part of it.

    A sum next to the middle between two values may be rounded to either of them: a bfloat16 or a byte is then 2^-8 from
    where it was. Where rows are bfloat16 before they become bytes that may be the row's largest value, whose change
    rounds all others anew: twice as much.
    """
    return 2.0**-7 if precision(dtype, isa).between is to_bfloat16 else 2.0**-8


def row_errors(found, wanted, lengths):
    """Relative errors of the token states (batch, sequence, units) within the lengths, one per token."""
    inside = np.arange(found.shape[1]) < np.asarray(lengths)[:, None]
    return np.linalg.norm(found - wanted, axis=-1)[inside] / np.linalg.norm(wanted, axis=-1)[inside]


def instruction_sets() -> list[str]:
    """Those of this processor, and the emulation of AMX where it can run."""
    from bertpass import _native  # here, because the rest needs no native code

    found = _native.instruction_sets()
    return [*found, "amx_emulated"] if "avx2" in found else found


def same(x):
    return x


@dataclass(frozen=True)
class Precision:
    """How what the matrix products read is rounded: activations, weights, and queries, keys, values, probabilities;
    ``between`` is what holds the rows of proj and down before their activations are rounded."""

    activations: Callable = same
    weights: Callable = same
    attention: Callable = same
    gelu: Callable = ACTIVATIONS["gelu"]
    between: Callable = same


EXACT = Precision()
BFLOAT16 = Precision(to_bfloat16, to_bfloat16, to_bfloat16, gelu_coarse)


def precision(dtype: str, isa: str) -> Precision:
    """What the engine does in a precision with an instruction set."""
    attention = to_bfloat16 if isa in ("avx512_bf16", "amx", "amx_emulated", "neon_bf16") else same
    return {"float32": EXACT, "bfloat16": BFLOAT16,
            "int8": Precision(to_bytes, to_signed_bytes, attention, gelu_coarse, attention)}[dtype]


def distance_bias(table, length):
    """(heads, length, length) of a table (32, heads): Raffel et al., arXiv:1910.10683, section 2.1, both directions."""
    distance = np.arange(length)[None] - np.arange(length)[:, None]
    far = np.abs(distance)
    bucket = np.where(far < 8, far, 8 + np.floor(8 * np.log2(np.maximum(far, 8) / 8) / 4)).clip(max=15)
    return table[(bucket + 16 * (distance > 0)).astype(int)].transpose(2, 0, 1)


def slopes_bias(heads, length):
    """(heads, length, length) of ALiBi: Press et al., arXiv:2108.12409; other numbers of heads as in their code."""
    def slopes(n):
        if n & (n - 1):
            closest = 2 ** int(np.log2(n))
            return slopes(closest) + slopes(2 * closest)[0::2][:n - closest]
        return [2 ** (-8 * (i + 1) / n) for i in range(n)]

    distance = np.abs(np.arange(length)[None] - np.arange(length)[:, None])
    return -np.array(slopes(heads))[:, None, None] * distance


def turned(x, config, layer):
    """Rotary positions (Su et al., arXiv:2104.09864) of (heads, tokens, size), as complex numbers."""
    local = config.window and layer % config.global_every
    base = (local and config.rope_local_theta) or config.rope_theta
    half = x.shape[-1] // 2
    base = base * config.rope_factor
    frequency = base ** (-np.arange(half) / half) / config.rope_factor ** (1 / half)
    angle = np.arange(x.shape[1])[:, None] * frequency
    pairs = (x[..., :half] + 1j * x[..., half:]) * np.exp(1j * angle)
    return np.concatenate([pairs.real, pairs.imag], -1)


def distance_rows(config, length):
    """(length, length): which embedding of a distance belongs to query i and key j; He et al., arXiv:2006.03654, with
    the ranges of transformers' make_log_bucket_position."""
    distance = np.arange(length)[:, None] - np.arange(length)[None]
    far, middle, span = np.abs(distance), config.position_buckets // 2, config.relative_span
    if config.position_buckets:
        part = np.log(np.maximum(far, middle) / middle) / np.log((config.relative_positions - 1) / middle)
        far = np.where(far <= middle, far, np.ceil(part * (middle - 1)) + middle)
    return (np.sign(distance) * far + span).clip(0, 2 * span - 1).astype(int)


def token_states(checkpoint: Checkpoint, ids, types, low: Precision | Callable = EXACT):
    """(tokens, units) of one sequence; ``low`` is a precision, or gives that of each part ("LAYER.PRODUCT")."""
    of = low if callable(low) else lambda part: low
    config, params = checkpoint.config, {n: a.astype(np.float64) for n, a in checkpoint.params.items()}
    root, heads, about = config.root, config.num_heads, config.about

    def dense(x, name, low, scale=1.0):
        weight = low.weights(params[f"{name}.weight"] * scale).T.astype(np.float64)
        return low.activations(x) @ weight + params.get(f"{name}.bias", 0) * scale

    def norm(x, name):
        return layer_norm(x, params[f"{name}.gamma"], params.get(f"{name}.beta", 0), config.layer_norm_eps)

    x = params[f"{root}.word_embed.0.weight"][ids]
    if about.positions == "table":
        x = x + params[f"{root}.encoder.position_weight"][:len(ids)]
    if config.token_type_vocab_size:
        used = types if config.takes_token_types else np.zeros_like(types)
        x = x + params[f"{root}.token_type_embed.0.weight"][used]
    x = norm(x, f"{root}.encoder.layer_norm")
    if config.embedding_size:
        x = dense(x, f"{root}.{parameters.PROJECTION}", EXACT)
    added = distance_bias(params[f"{root}.{parameters.DISTANCES}"], len(ids)) if about.distance_buckets else 0
    if about.positions == "relative":
        row, table = distance_rows(config, len(ids))[None], params[f"{root}.encoder.relative_embed.weight"]
        table = norm(table, f"{root}.encoder.relative_norm")
    if about.positions == "alibi":
        added = slopes_bias(heads, len(ids))
    far = np.abs(np.arange(len(ids))[None] - np.arange(len(ids))[:, None])
    for layer in range(config.num_layers):
        cell = f"{root}.encoder.transformer_cells.{layer}"
        scales = {"query": np.sqrt(heads / config.units), "key": 1.0, "value": 1.0}
        qkv, proj, up, down = (of(f"{layer}.{name}") for name in ("qkv", "proj", "up", "down"))
        read = norm(x, f"{cell}.layer_norm") if about.norm_first and layer else x
        q, k, v = (qkv.attention(dense(read, f"{cell}.attention_cell.proj_{part}", qkv, s)).astype(np.float64)
                   .reshape(len(ids), heads, -1).transpose(1, 0, 2) for part, s in scales.items())
        if about.positions == "rotary":
            q, k = (qkv.attention(turned(part, config, layer)).astype(np.float64) for part in (q, k))
        scores = q @ k.transpose(0, 2, 1) + added
        if about.positions == "relative":
            by_query, by_key = (
                qkv.attention(dense(table, f"{cell}.attention_cell.proj_{part}", qkv, scales[part])).astype(np.float64)
                .reshape(len(table), heads, -1).transpose(1, 2, 0) for part in ("query", "key"))
            scores = scores + np.take_along_axis(q @ by_key, row, -1)
            scores += np.take_along_axis(k @ by_query, row.transpose(0, 2, 1), -1).transpose(0, 2, 1)
            scores /= np.sqrt(3)
        if config.window and layer % config.global_every:
            scores = np.where(far <= config.window, scores, -np.inf)
        mixed = (softmax(scores, qkv.attention) @ v).transpose(1, 0, 2).reshape(len(ids), -1)
        x = x + dense(proj.between(mixed), f"{cell}.proj", proj)
        x = x if about.norm_first else norm(x, f"{cell}.layer_norm")
        activation = down.gelu if config.activation == "gelu" else ACTIVATIONS[config.activation]
        read = norm(x, f"{cell}.ffn.layer_norm") if about.norm_first else x
        inner = activation(dense(read, f"{cell}.ffn.ffn_1", up))
        if about.gated:
            inner = inner * dense(read, f"{cell}.ffn.ffn_3", up)
        x = x + dense(down.between(inner), f"{cell}.ffn.ffn_2", down)
        x = x if about.norm_first else norm(x, f"{cell}.ffn.layer_norm")
    return norm(x, f"{root}.encoder.final_norm") if about.norm_first else x


def outputs(checkpoint: Checkpoint, ids, types, lengths, low: Precision = EXACT):
    """What the engine has to give: the list of outputs of the head, padding included; ``low`` as above."""
    config, head, length = checkpoint.config, checkpoint.head, ids.shape[1]
    params = {n: a.astype(np.float64) for n, a in checkpoint.params.items()}

    def dense(x, name, activation="none"):
        return ACTIVATIONS[activation](x @ params[f"{name}.weight"].T + params.get(f"{name}.bias", 0))

    def first(x):
        """ModernBERT's layer before those of every head."""
        if not config.about.head_norm:
            return x
        return layer_norm(dense(x, "classifier.1", "gelu"), params["classifier.2.gamma"], 0, config.layer_norm_eps)

    rows = []
    for i, valid in enumerate(lengths):
        states = token_states(checkpoint, ids[i, :valid], types[i, :valid], low)
        padded = np.pad(states, ((0, length - valid), (0, 0)))
        if head.kind == "none":
            rows.append([padded])
        elif head.kind == "pooled":
            rows.append([padded, dense(states[0], f"{config.root}.pooler", "tanh")])
        elif head.kind == "qa":
            rows.append([dense(first(padded), "span_classifier")])
        elif head.kind == "tokens":
            rows.append([dense(first(padded), "tag_classifier")])
        elif head.kind == "embedding":
            vector = states.mean(0) if head.pooling == "mean" else states[0]
            rows.append([vector / np.linalg.norm(vector) if head.normalize else vector])
        elif config.about.head_norm:
            vector = states.mean(0) if head.pooling == "mean" else states[0]
            rows.append([dense(first(vector), "classifier.3")])
        elif config.classifier.pooled:
            rows.append([dense(dense(states[0], "bert.pooler", "tanh"), "classifier.1")])
        elif config.family in ("deberta-v2", "electra"):
            rows.append([dense(dense(states[0], "classifier.1", "gelu"), "classifier.3")])
        elif config.family != "distilbert":  # RoBERTa, its kin and MPNet
            rows.append([dense(dense(states[0], "classifier.1", "tanh"), "classifier.3")])
        else:
            rows.append([dense(dense(states[0], "pre_classifier", "relu"), "classifier.1")])
    return [np.stack(column) for column in zip(*rows, strict=True)]
