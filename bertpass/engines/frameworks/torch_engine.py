"""PyTorch as an engine: the network in its fused operators, in float32 or bfloat16, eager, TorchScript or compiled."""

from __future__ import annotations

import os
import shutil
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bertpass.engines.base import PaddedEngine, check_dtype, check_threads
from bertpass.errors import MissingDependencyError, UsageError, unknown
from bertpass.extras import require
from bertpass.model import heads, parameters, positions
from bertpass.model.record import Checkpoint

DTYPES = ("float32", "bfloat16")
MODES = ("eager", "script", "compile")
EXTRA = "torch"
SHAPES = 64  # compiled at most; then PyTorch would fall back to eager without a word


class TorchEngine(PaddedEngine):
    """Runs a checkpoint's network in PyTorch on the CPU; several Python threads take turns.

    Query, key and value are one product, attention is ``scaled_dot_product_attention``, and a batch without padding
    has no mask: what is fastest in PyTorch.

    Parameters
    ----------
    dtype
        "float32" or "bfloat16", of weights and activations; the head's outputs are float32.
    threads
        For one forward, and then of all of PyTorch in this process; ``None`` takes :func:`bertpass.machine.threads`.
    mode
        "eager"; "script": traced and frozen TorchScript, of any shape; "compile": by inductor with frozen weights, once
        for each shape that comes (tens of seconds each).

    Raises
    ------
    MissingDependencyError
        torch is not installed, or "compile" finds no C++ compiler.
    UsageError
        ``dtype``, ``threads`` or ``mode`` cannot be used.
    """

    name = "torch"

    def __init__(self, checkpoint: Checkpoint, *, dtype: str = "float32", threads: int | None = None,
                 mode: str = "eager") -> None:
        check_dtype(self.name, dtype, DTYPES)
        threads = check_threads(threads)
        if mode not in MODES:
            raise UsageError(unknown("mode of the torch engine", str(mode), MODES))
        torch = require("torch", EXTRA)
        if mode == "compile" and not shutil.which(os.environ.get("CXX", "g++")):
            raise MissingDependencyError("torch.compile needs a C++ compiler and g++ is not there; install g++ or name "
                                         "a compiler in CXX.")
        torch.set_num_threads(threads)
        self._torch, self._lock = torch, threading.Lock()
        run: Any = network(torch, checkpoint, getattr(torch, dtype))
        if mode == "compile":
            torch._dynamo.config.recompile_limit = SHAPES
            run = torch.compile(run, dynamic=False, options={"freezing": True})
        elif mode == "script":
            run = _both(torch, run)
        self._run: Any = run
        self._about = {"engine": self.name, "torch": torch.__version__, "device": "cpu", "dtype": dtype,
                       "threads": threads, "mode": mode}

    def forward(self, input_ids: np.ndarray, token_types: np.ndarray, valid_length: np.ndarray) -> list[np.ndarray]:
        torch = self._torch
        arrays = [torch.from_numpy(np.asarray(a, np.int64)) for a in (input_ids, token_types, valid_length)]
        padded = bool((np.asarray(valid_length) < np.shape(input_ids)[1]).any())
        with self._lock, torch.no_grad():
            return [output.float().numpy() for output in self._run(*arrays, padded)]

    def describe(self) -> dict[str, Any]:
        return dict(self._about)

    def close(self) -> None:
        self._run = None


def save(path: Path, checkpoint: Checkpoint) -> list[Path]:
    """Write the network in float32 as TorchScript: (ids, token types, valid length), int64 or int32, of any shape to a
    tuple of the outputs of :meth:`TorchEngine.forward`, float32.

    Raises
    ------
    MissingDependencyError
        torch is not installed.
    """
    torch = require("torch", EXTRA)
    torch.jit.save(_traced(torch, network(torch, checkpoint, torch.float32), padded=True), str(path))
    return [path]


def _both(torch: Any, network: Any) -> Callable[..., Any]:
    """The network as two frozen TorchScript modules: with a mask, and without for batches that need none."""
    modules = {padded: torch.jit.freeze(_traced(torch, network, padded)) for padded in (False, True)}
    return lambda ids, types, lengths, padded: modules[padded](ids, types, lengths)


def _traced(torch: Any, network: Any, padded: bool) -> Any:
    class Fixed(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, ids: Any, types: Any, lengths: Any) -> tuple[Any, ...]:
            return tuple(output.float() for output in self.network(ids, types, lengths, padded))

    ids = torch.ones((2, 3), dtype=torch.int64)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that tracing is old; what it would bake in is tested with other shapes
        return torch.jit.trace(Fixed().eval(), (ids, 0 * ids, torch.tensor([3, 2])), check_trace=False)


def network(torch: Any, checkpoint: Checkpoint, dtype: Any, trainable: bool = False) -> Any:
    """A module (ids, token types, valid length, whether a row is padded) -> outputs, in PyTorch's operators.

    ``trainable``: the arrays are its parameters, called by :func:`trained_name`, query, key and value apart; one that
    stands under several names is one parameter, called by the first, and ``of(name)`` gives it by each. In
    training mode dropout is where :class:`bertpass.model.nets.Network` has it, at the rate of the configuration.

    ModelError where parameters are missing or misshapen.
    """
    config, values = checkpoint.network()
    layout = heads.layout(config, checkpoint.head)
    f = torch.nn.functional
    functions = {"none": lambda x: x, "tanh": torch.tanh, "relu": f.relu, "gelu": f.gelu,
                 "gelu_tanh": lambda x: f.gelu(x, approximate="tanh"), "silu": f.silu}
    about = config.about
    distances, rows = parameters.distance_rows(config), parameters.relative_rows(config)
    dropped = [layer.name for layer in heads.own_layers(config, checkpoint.head)
               if layer.name.startswith("classifier.") or checkpoint.head.kind == "tokens"]
    cells = [f"{config.root}.encoder.transformer_cells.{layer}" for layer in range(config.num_layers)]
    parts = ("query", "key", "value")
    joined: dict[tuple[int, ...], np.ndarray] = {}
    kinds = ("weight",) if "attention" in about.without_bias else ("weight", "bias")
    local = [positions.is_local(config, layer) for layer in range(config.num_layers)]
    for cell in cells if not trainable else ():
        for kind in kinds:
            three = [values.pop(f"{cell}.attention_cell.proj_{part}.{kind}") for part in parts]
            key = tuple(map(id, three))
            joined[key] = joined[key] if key in joined else np.concatenate(three)
            values[f"{cell}.attention_cell.qkv.{kind}"] = joined[key]
    first = {id(value): name for name, value in reversed(values.items())}
    kept = {name: first[id(value)] for name, value in values.items()}  # what several layers share is there once

    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for name in dict.fromkeys(kept.values()):
                tensor = torch.tensor(values[name]).to(dtype)
                if trainable:
                    self.register_parameter(trained_name(name), torch.nn.Parameter(tensor))
                else:
                    self.register_buffer(trained_name(name), tensor)
            if distances is not None:
                self.register_buffer("distances", torch.tensor(distances), persistent=False)
            if rows is not None:
                self.register_buffer("rows", torch.tensor(rows), persistent=False)
            if about.positions == "alibi":
                self.register_buffer("slopes", torch.tensor(positions.slopes(config.num_heads)), persistent=False)
            for layer, near in enumerate(local):
                angles = positions.rotary(config, layer, config.max_length)
                if angles is not None:
                    self.register_buffer(f"angles_{near}", torch.tensor(np.stack(angles)), persistent=False)

        def of(self, name: str) -> Any:
            name = trained_name(kept[name]) if name in kept else ""
            return getattr(self, name, None)  # a bias may lack

        def dense(self, x: Any, name: str) -> Any:
            return f.linear(x, self.of(f"{name}.weight"), self.of(f"{name}.bias"))

        def norm(self, x: Any, name: str) -> Any:
            return f.layer_norm(x, x.shape[-1:], self.of(f"{name}.gamma"), self.of(f"{name}.beta"),
                                config.layer_norm_eps)

        def drop(self, x: Any) -> Any:
            return f.dropout(x, config.dropout) if self.training else x

        def qkv(self, x: Any, name: str) -> Any:
            if not trainable:
                return self.dense(x, f"{name}.qkv")
            return f.linear(x, *(torch.cat([self.of(f"{name}.proj_{part}.{kind}") for part in parts])
                                 for kind in kinds))

        def turned(self, x: Any, near: bool) -> Any:
            """Queries or keys (batch, heads, tokens, size), each by the angles of its place, in float32."""
            cos, sin = getattr(self, f"angles_{near}")[:, :x.shape[2]]
            left, right = x.float().chunk(2, -1)
            return torch.cat([left * cos - right * sin, right * cos + left * sin], -1).to(x.dtype)

        def mask(self, length: int, inside: Any, near: bool) -> Any:
            """Which keys a query attends to, or what is added to its scores; a token always attends to itself, so that
            one of the padding has a result."""
            place = torch.arange(length, device=self.of(f"{config.root}.word_embed.0.weight").device)
            away = place - place[:, None]
            if near:
                close = away.abs() <= config.window
                inside = close if inside is None else (close & inside) | (away == 0)
            if distances is not None:
                bias = f.embedding(self.distances, self.of(f"{config.root}.{parameters.DISTANCES}")).T
                added = bias[:, len(distances) // 2 + away]
            elif about.positions == "alibi":
                added = -self.slopes[:, None, None] * away.abs()
            else:
                return inside
            return added[None] if inside is None else torch.where(inside, added, float("-inf"))

        def forward(self, ids: Any, types: Any, lengths: Any, padded: bool) -> list[Any]:
            inside = torch.arange(ids.shape[1], device=ids.device) < lengths[:, None]
            states = self.encode(ids, types, inside[:, None, None] if padded else None)
            if padded:
                states = states * inside[:, :, None]
            return self.head(states, lengths)

        def encode(self, ids: Any, types: Any, mask: Any) -> Any:
            x = f.embedding(ids, self.of(f"{config.root}.word_embed.0.weight"))
            if config.token_type_vocab_size:
                table = self.of(f"{config.root}.token_type_embed.0.weight")
                x = x + (f.embedding(types, table) if config.takes_token_types else table)
            if about.positions == "table":
                x = x + self.of(f"{config.root}.encoder.position_weight")[:ids.shape[1]]
            x = self.norm(self.drop(x), f"{config.root}.encoder.layer_norm")
            if config.embedding_size:
                x = self.dense(x, f"{config.root}.{parameters.PROJECTION}")
            masks = {near: self.mask(ids.shape[1], mask, near) for near in set(local)}
            share, scale = config.dropout if self.training else 0.0, None
            if rows is not None:
                place = torch.arange(ids.shape[1], device=ids.device)
                row = self.rows[len(rows) // 2 + place - place[:, None]][None, None]
                scale = (3 * config.units // config.num_heads) ** -0.5
            for cell, near in zip(cells, local, strict=True):
                bare = not about.norm_first or cell == cells[0]
                qkv = self.qkv(x if bare else self.norm(x, f"{cell}.layer_norm"), f"{cell}.attention_cell")
                q, k, v = qkv.view(*ids.shape, 3, config.num_heads, -1).permute(2, 0, 3, 1, 4)
                if about.positions == "rotary":
                    q, k = self.turned(q, near), self.turned(k, near)
                added = masks[near]
                if rows is not None:
                    added = self.by_distance(q, k, row, cell) * scale
                    added = added if mask is None else torch.where(mask, added, float("-inf"))
                mixed = f.scaled_dot_product_attention(q, k, v, added, share, scale=scale)
                mixed = mixed.transpose(1, 2).reshape(x.shape)
                x = self.drop(self.dense(mixed, f"{cell}.proj")) + x
                x = x if about.norm_first else self.norm(x, f"{cell}.layer_norm")
                y = self.norm(x, f"{cell}.ffn.layer_norm") if about.norm_first else x
                inner = functions[config.activation](self.dense(y, f"{cell}.ffn.ffn_1"))
                if about.gated:
                    inner = inner * self.dense(y, f"{cell}.ffn.ffn_3")
                x = self.drop(self.dense(inner, f"{cell}.ffn.ffn_2")) + x
                x = x if about.norm_first else self.norm(x, f"{cell}.ffn.layer_norm")
            return self.norm(x, f"{config.root}.encoder.final_norm") if about.norm_first else x

        def by_distance(self, q: Any, k: Any, row: Any, cell: str) -> Any:
            """What the distances add to scores before these are scaled: products of the content with their embeddings
            as keys and as queries (He et al., arXiv:2006.03654, section 3.1)."""
            distances = self.drop(self.norm(self.of(f"{config.root}.{parameters.RELATIVE}.weight"),
                                            f"{config.root}.{parameters.RELATIVE_NORM}"))
            both = self.qkv(distances, f"{cell}.attention_cell").view(len(distances), 3, config.num_heads, -1)
            query, key, _ = both.permute(1, 2, 0, 3)
            row = row.expand(*q.shape[:3], q.shape[2])
            found = torch.gather(q @ key.transpose(1, 2), 3, row)
            return found + torch.gather(k @ query.transpose(1, 2), 3, row.transpose(2, 3)).transpose(2, 3)

        def head(self, states: Any, lengths: Any) -> list[Any]:
            outputs = [states] if layout.states else []
            if not layout.takes:
                return outputs
            x = states if layout.takes == "tokens" else states[:, 0]
            if layout.takes == "mean":
                x = states.float().sum(1) / lengths[:, None]
            if layout.normalize:
                x = f.normalize(x.float(), eps=1e-12)
            for layer in layout.layers:
                x = self.drop(x) if layer.name in dropped else x
                x = functions[layer.activation](f.linear(x, self.of(layer.weight), self.of(f"{layer.name}.bias")))
                x = self.norm(x, layer.norm) if layer.norm else x
            if layout.over:  # the states of padding are zero, and their logits are not
                x = f.relu(x.float()) * (torch.arange(x.shape[1], device=x.device) < lengths[:, None])[:, :, None]
                for _ in range(layout.logs):
                    x = torch.log1p(x)
                x = x.amax(1) if layout.over == "max" else x.sum(1)
            return [*outputs, x]

    return Network().eval()


def trained_name(name: str) -> str:
    """A parameter's name as a module of PyTorch can have it."""
    return name.replace(".", "__")


from_checkpoint = TorchEngine
