"""Networks in MXNet: built from GluonNLP's blocks, filled from NumPy arrays, exported as a symbol.

The only module of this level that starts MXNet.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bertpass.errors import ModelError
from bertpass.model import heads, parameters
from bertpass.model.config import EncoderConfig, HeadConfig
from bertpass.model.files import params_file
from bertpass.mx import mx, nlp

nn = mx.gluon.nn

_ACTIVATIONS = {"gelu": "gelu", "gelu_tanh": "approx_gelu", "relu": "relu"}
_NORM_EPS = 1e-24  # under the root: the smallest length is 1e-12, as in sentence-transformers


class Network(mx.gluon.HybridBlock):
    """An encoder with its head; call it as ``net(ids, [token_types,] valid_length)``.

    ``ids`` and ``token_types`` are (batch, length) and int32 or float32, ``valid_length`` is (batch,) and of any
    number type: it is cast inside the graph to the type of the weights, because the encoder's own arithmetic on it
    fails on a mix of types. Rows past the valid length are zero in the token states. See
    :class:`~bertpass.model.config.HeadConfig` for the outputs.
    """

    def __init__(self, config: EncoderConfig, head: HeadConfig, prefix: str):
        what = "a network of MXNet (deploy, --trainer mxnet)"
        parameters.refuse_more_than_bert(config, what)
        heads.refuse_words(head, what)
        super().__init__(prefix=prefix)
        self.config, self.head, self.layout = config, head, heads.layout(config, head)
        self._number_type = "float32"
        with self.name_scope():
            encoder = nlp.model.BERTEncoder(
                num_layers=config.num_layers, units=config.units, hidden_size=config.hidden_size,
                max_length=config.max_length, num_heads=config.num_heads, dropout=config.dropout,
                activation=_ACTIVATIONS[config.activation], layer_norm_eps=config.layer_norm_eps)
            # GluonNLP's RoBERTaModel and DistilBERTModel are this class with the same switches off.
            body = nlp.model.BERTModel(
                encoder, vocab_size=config.vocab_size, token_type_vocab_size=config.token_type_vocab_size,
                units=config.units, embed_size=config.units, use_pooler=config.use_pooler, use_decoder=False,
                use_classifier=False, use_token_type_embed=config.token_type_vocab_size > 0)
            setattr(self, config.root, body)
            self._add_head()

    def _add_head(self) -> None:
        config, head, tokens = self.config, self.head, self.layout.takes == "tokens"
        # The published recipes have a dropout before tags, and none before the logits of answers.
        self.dropout = nn.Dropout(config.dropout) if head.kind == "tokens" and config.dropout else None
        names = ["dropout"] if self.dropout else []
        depth = config.units
        for layer in heads.own_layers(config, head):
            dense = nn.Dense(layer.outputs, flatten=not tokens, in_units=depth,
                             activation=layer.activation if layer.activation in ("tanh", "relu") else None)
            name, _, number = layer.name.partition(".")
            if not number:
                setattr(self, name, dense)
            else:
                if not hasattr(self, name):
                    setattr(self, name, nn.HybridSequential())
                # The names count a dropout before each layer, as GluonNLP's do, whether or not there is one.
                if config.dropout:
                    getattr(self, name).register_child(nn.Dropout(config.dropout), str(int(number) - 1))
                getattr(self, name).register_child(dense, number)
                if layer.activation == "gelu":
                    getattr(self, name).register_child(nn.GELU(), f"{number}.gelu")
            names.append(name)
            depth = layer.outputs
        self.head_blocks = tuple(dict.fromkeys(names))

    def cast(self, dtype: Any) -> None:
        """Cast the weights to ``dtype`` and have valid lengths cast to it too."""
        self._number_type = np.dtype(dtype).name
        super().cast(dtype)

    def __call__(self, *inputs: Any) -> Any:
        expected = len(self.config.input_names)
        if len(inputs) != expected:
            raise ModelError(f"a {self.config.family} network takes {expected} inputs "
                             f"({'ids, token types' if expected == 3 else 'ids'} and valid length), not {len(inputs)}.")
        return super().__call__(*inputs)

    def hybrid_forward(self, F: Any, ids: Any, *rest: Any) -> Any:
        """See the class; ``F`` is mx.nd or mx.sym."""
        config, layout = self.config, self.layout
        valid_length = F.cast(rest[-1], dtype=self._number_type)
        token_types = rest[0] if config.takes_token_types else F.zeros_like(ids)
        if not config.token_type_vocab_size:
            token_types = []
        outputs = getattr(self, config.root)(ids, token_types, valid_length)
        states, pooled = outputs if config.use_pooler else (outputs, None)
        if not layout.takes:
            return states
        if config.use_pooler:
            x = pooled
        else:
            x = states if layout.takes == "tokens" else self.vectors(F, states, valid_length)
        for name in self.head_blocks:
            x = getattr(self, name)(x)
        return (states, x) if layout.states else x

    def vectors(self, F: Any, states: Any, valid_length: Any) -> Any:
        """(batch, length, units) -> (batch, units); as an output in float32, where neither the sum over tokens nor the
        squared length overflows."""
        layout = self.layout
        if layout.takes == "mean":
            lengths = F.maximum(F.cast(valid_length, dtype="float32"), 1).reshape(shape=(-1, 1))
            vectors = F.broadcast_div(F.cast(states, dtype="float32").sum(axis=1), lengths)
        else:
            vectors = states.slice_axis(axis=1, begin=0, end=1).reshape(shape=(-1, self.config.units))
            vectors = vectors if layout.layers else F.cast(vectors, dtype="float32")
        if layout.normalize:
            vectors = F.L2Normalization(vectors, eps=_NORM_EPS)
        reads_other = layout.layers and layout.takes == "mean"
        return F.cast(vectors, dtype=self._number_type) if reads_other else vectors


def build(config: EncoderConfig, head: HeadConfig, prefix: str | None = None) -> Network:
    """A network without values; fill it with :func:`set_parameters` or :func:`initialize`.

    A pooler that the head does not use is left out. ``config.dropout`` of 0 leaves dropout out of the graph. ``prefix``
    begins the names of the graph's nodes (default: the family's name); parameters are always called by the names of
    :func:`bertpass.model.parameters.shapes`.

    Raises
    ------
    ModelError
        The head needs a pooler and the encoder has none.
    """
    prefix = f"{config.family.replace('-', '_')}_" if prefix is None else prefix
    return Network(parameters.network_config(config, head), head, prefix)


def set_parameters(net: Network, arrays: Mapping[str, np.ndarray], ctx: Any = None) -> None:
    """Give every parameter of ``net`` its value, in the number type that the network has.

    Parameters
    ----------
    arrays : an array for each name of :func:`bertpass.model.parameters.shapes`; those of a pooler that the network does
        not use are ignored
    ctx : an MXNet context or a list of them; by default where the parameters are, or the CPU

    Raises
    ------
    ModelError
        Parameters are missing, too many or misshapen; nothing is set then.
    """
    wanted = parameters.shapes(net.config, net.head)
    pooler = f"{net.config.root}.pooler."
    arrays = {name: array for name, array in arrays.items() if name in wanted or not name.startswith(pooler)}
    parameters.check(arrays, wanted)
    contexts = [ctx] if isinstance(ctx, mx.Context) else ctx
    for name, parameter in _named(net).items():
        if not _has_value(parameter):
            parameter.shape = wanted[name]
            parameter.initialize(init=mx.init.Zero(), ctx=contexts or [mx.cpu()])
        elif contexts:
            parameter.reset_ctx(contexts)
        parameter.set_data(mx.nd.array(arrays[name], dtype=parameter.dtype))


def initialize(net: Network, seed: int, random_bias: bool = False, scale: float = 0.02, ctx: Any = None) -> None:
    """Fill ``net`` with random values, the same for the same seed; see :func:`bertpass.model.parameters.random`."""
    wanted = parameters.shapes(net.config, net.head)
    set_parameters(net, parameters.random(wanted, seed, scale=scale, random_bias=random_bias), ctx=ctx)


def get_parameters(net: Network) -> dict[str, np.ndarray]:
    """The values of all parameters by name, in the network's number type; ModelError where there are none yet."""
    values = {}
    for name, parameter in _named(net).items():
        if not _has_value(parameter):
            raise ModelError(f"the network has no value for '{name}' yet; use set_parameters or initialize first.")
        values[name] = parameter.data(parameter.list_ctx()[0]).asnumpy()
    return values


def symbol(net: Network) -> str:
    """The network's graph as MXNet's JSON: inputs ``data0``, ``data1``[, ``data2``], parameters under their own names.

    Parameters are called as in :func:`get_parameters`, so the graph of a checkpoint and its arrays need no map.
    """
    outputs = net(*[mx.sym.var(name) for name in net.config.input_names])
    graph = json.loads((mx.sym.Group(list(outputs)) if isinstance(outputs, (list, tuple)) else outputs).tojson())
    names = {parameter.name: name for name, parameter in _named(net).items()}
    for node in graph["nodes"]:
        if node["op"] == "null":
            node["name"] = names.get(node["name"], node["name"])
    return json.dumps(graph, indent=2)


def export(net: Network, prefix: str | os.PathLike[str]) -> tuple[Path, Path]:
    """Write ``PREFIX-symbol.json`` and ``PREFIX-0000.params`` (names with ``arg:``, as MXNet's own export).

    Returns the two paths; ModelError where a file cannot be written.
    """
    symbol_path, params_path = Path(f"{os.fspath(prefix)}-symbol.json"), Path(f"{os.fspath(prefix)}-0000.params")
    params_file.write(params_path, {f"arg:{name}": array for name, array in get_parameters(net).items()})
    try:
        symbol_path.write_text(symbol(net), encoding="utf-8")
    except OSError as error:
        raise ModelError(f"cannot write the graph {symbol_path}: {error.strerror or error}.") from error
    return symbol_path, params_path


def _named(net: Network) -> dict[str, Any]:
    """Gluon's parameters by structural name, the names of ``Block.save_parameters``."""
    return net._collect_params_with_prefix()


def _has_value(parameter: Any) -> bool:
    try:
        return bool(parameter.list_ctx())
    except RuntimeError:
        return False
