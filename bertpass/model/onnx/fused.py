"""The encoder in ONNX Runtime's own operators (domain ``com.microsoft``): seven nodes a layer instead of about thirty.

Operators, their inputs and attributes: ONNX Runtime, docs/ContribOperators.md. Attention reads ``valid_length`` as its
mask index: keys from there on count for nothing.
"""

from __future__ import annotations

from bertpass.model.config import EncoderConfig
from bertpass.model.onnx.writer import Writer
from bertpass.model.parameters import PROJECTION

DOMAIN = "com.microsoft"
VERSION = 1


def computes(config: EncoderConfig) -> bool:
    """Whether these operators compute the encoder; they have a bias by distance, and nothing else beyond BERT."""
    about = config.about
    return about.positions == "table" and not about.gated and not about.norm_first and config.activation != "silu"


def encoder(w: Writer, bias: str) -> str:
    """Embeddings and all layers; the output's name: token states (batch, sequence, units), padding not yet zeroed.

    ``bias`` is what attention adds to its scores, (1, heads, sequence, sequence), or empty.
    """
    config = w.config
    x = _embedded(w)
    for layer in range(config.num_layers):
        cell = f"{config.root}.encoder.transformer_cells.{layer}"
        x = _skip(w, _attention(w, x, f"{cell}.attention_cell", bias), x, f"{cell}.proj", f"{cell}.layer_norm")
        x = _skip(w, _inner(w, x, f"{cell}.ffn.ffn_1"), x, f"{cell}.ffn.ffn_2", f"{cell}.ffn.layer_norm")
    return x


def _embedded(w: Writer) -> str:
    config, root = w.config, w.config.root
    positions = w.params[f"{root}.encoder.position_weight"]
    types, table = "", ""
    if config.takes_token_types and config.token_type_vocab_size:
        types, table = "token_types", w.weight(f"{root}.token_type_embed.0.weight")
    elif config.token_type_vocab_size:  # one row is added to every token
        positions = positions + w.params[f"{root}.token_type_embed.0.weight"]
    norm = f"{root}.encoder.layer_norm"
    x = w.add("EmbedLayerNormalization", "input_ids", types, w.weight(f"{root}.word_embed.0.weight"),
              w.store(f"{root}.encoder.position_weight", positions), table, w.weight(f"{norm}.gamma"),
              w.weight(f"{norm}.beta"), unread=1, domain=DOMAIN, epsilon=config.layer_norm_eps)
    return w.dense(x, f"{root}.{PROJECTION}") if config.embedding_size else x


def _attention(w: Writer, x: str, cell: str, added: str) -> str:
    """(batch, sequence, units), not yet projected."""
    parts = [f"{cell}.proj_{part}" for part in ("query", "key", "value")]
    weight = w.joined(f"{cell}.qkv.weight", [f"{part}.weight" for part in parts], transposed=True)
    bias = w.joined(f"{cell}.qkv.bias", [f"{part}.bias" for part in parts])
    return w.add("Attention", x, weight, bias, "valid_length", *(["", added] if added else []), domain=DOMAIN,
                 num_heads=w.config.num_heads)


def _inner(w: Writer, x: str, name: str) -> str:
    """The first feed-forward layer with its activation."""
    if w.config.activation == "relu":
        return w.add("Relu", w.dense(x, name))
    op = {"gelu": "BiasGelu", "gelu_tanh": "FastGelu"}[w.config.activation]
    return w.add(op, w.product(x, name), w.weight(f"{name}.bias"), domain=DOMAIN)


def _skip(w: Writer, x: str, skipped: str, dense: str, norm: str) -> str:
    """norm(x W + bias + skipped)."""
    return w.add("SkipLayerNormalization", w.product(x, dense), skipped, w.weight(f"{norm}.gamma"),
                 w.weight(f"{norm}.beta"), w.weight(f"{dense}.bias"), domain=DOMAIN, epsilon=w.config.layer_norm_eps)
