"""A network in its training form for CPUs: tokens without padding, attention and normalisation by our own operators.

It computes what :class:`~bertpass.model.nets.Network` computes in training mode and has the same parameters; only which
elements dropout drops differs. All rows of a batch stand one after the other as tokens, so that nothing is computed for
padding. ``bertpass_train_attention`` and ``bertpass_train_sum_norm`` (csrc/training) have gradients, and keep neither
attention weights nor dropout masks for them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bertpass.errors import ModelError
from bertpass.model.nets import Network
from bertpass.mx import load_library, mx
from bertpass.passes.library import LIBRARY
from bertpass.text.tokens.batching import Batch

_GRAIN = 32  # tokens of a batch are filled up to a multiple of this: fewer shapes for MXNet to plan


def available(context: Any) -> bool:
    """Whether this form can train on the context: a CPU, and the library with the operators is built."""
    return context.device_type == "cpu" and LIBRARY.is_file()


class PackedNetwork(mx.gluon.HybridBlock):
    """The training form of ``net``, with its parameters; see :func:`packed` for the inputs.

    Outputs are as the network's: (batch, labels), or of every token (batch, length, labels), where padding has the
    values of some token. Raises ModelError for a head that is not trained.
    """

    def __init__(self, net: Network) -> None:
        super().__init__(prefix=net.prefix)
        if not hasattr(mx.sym, "bertpass_train_attention"):
            load_library(LIBRARY)
        self.config, self.head = net.config, net.head
        if not (self.head.has_token_logits or self.head.has_classifier):
            raise ModelError(f"a head of kind '{self.head.kind}' is not trained.")
        self.body = getattr(net, net.config.root)
        self.head_blocks = net.head_blocks
        for name in self.head_blocks:
            setattr(self, name, getattr(net, name))
        self._places = 0
        self.hybridize(static_alloc=True)

    def hybrid_forward(self, F: Any, ids: Any, token_types: Any, positions: Any, offsets: Any, gather: Any,
                       seed: Any) -> Any:
        """See :func:`packed`; ``F`` is mx.sym, because the operators' parameters are taken as variables."""
        config, body, encoder = self.config, self.body, self.body.encoder
        self._places = 0
        states = body.word_embed(ids)
        if config.token_type_vocab_size:
            states = states + body.token_type_embed(token_types)
        states = states + F.Embedding(positions, encoder.position_weight.var(), input_dim=config.max_length,
                                      output_dim=config.units)
        states = self._sum_norm(F, encoder.layer_norm, states, F.zeros_like(states), seed)
        for cell in encoder.transformer_cells._children.values():
            states = self._layer(F, cell, states, offsets, seed)
        tokens = self.head.has_token_logits
        x = states if tokens else F.take(states, gather)
        if config.use_pooler:
            x = body.pooler(x)
        for name in self.head_blocks:
            x = getattr(self, name)(x)
        return F.take(x, gather) if tokens else x

    def _layer(self, F: Any, cell: Any, states: Any, offsets: Any, seed: Any) -> Any:
        config, attention = self.config, cell.attention_cell
        weight, bias = (F.concat(*[getattr(attention, f"{part}_{kind}").var() for part in ("query", "key", "value")],
                                 dim=0) for kind in ("weight", "bias"))
        qkv = F.FullyConnected(states, weight, bias, num_hidden=3 * config.units, flatten=False)
        mixed = F.bertpass_train_attention(qkv, offsets, seed, heads=config.num_heads, **self._dropout())[0]
        states = self._sum_norm(F, cell.layer_norm, cell.proj(mixed), states, seed)
        ffn = cell.ffn
        return self._sum_norm(F, ffn.layer_norm, ffn.ffn_2(ffn.activation(ffn.ffn_1(states))), states, seed)

    def _sum_norm(self, F: Any, norm: Any, x: Any, residual: Any, seed: Any) -> Any:
        """layer_norm(dropout(x) + residual). MXNet adds gradients up where it meets identity (see operator.h)."""
        return F.bertpass_train_sum_norm(x, F.identity(residual), F.identity(norm.gamma.var()),
                                         F.identity(norm.beta.var()), seed, epsilon=self.config.layer_norm_eps,
                                         **self._dropout())

    def _dropout(self) -> dict[str, Any]:
        self._places += 1
        return {"dropout": self.config.dropout, "place": self._places}


def packed(batch: Batch, per_token: bool, context: Any, seed: np.ndarray) -> tuple[Any, ...]:
    """The inputs of a :class:`PackedNetwork` for T tokens, those of all rows and some that belong to none.

    Returns
    -------
    ids, token_types, positions : (T,) int32
    offsets : (batch + 1,) int32, where the rows begin and the last one ends
    gather : (batch,), or ``per_token`` (batch, length), int32, which tokens the head takes
    seed : (2,) int32, of dropout
    """
    lengths, length = batch.valid_length, batch.input_ids.shape[1]
    there = np.arange(length) < lengths[:, None]
    offsets = np.zeros(len(lengths) + 1, np.int32)
    np.cumsum(lengths, out=offsets[1:])
    used = int(offsets[-1])
    tokens = np.zeros((3, -(-used // _GRAIN) * _GRAIN), np.int32)
    positions = np.broadcast_to(np.arange(length), there.shape)
    for row, values in zip(tokens, (batch.input_ids, batch.token_types, positions), strict=True):
        row[:used] = values[there]
    gather = np.minimum(offsets[:-1, None] + np.arange(length), used - 1) if per_token else offsets[:-1]
    return tuple(mx.nd.array(values, ctx=context, dtype="int32") for values in (*tokens, offsets, gather, seed))
