"""Precision plans: in which type each matrix product of each layer computes in the native engine.

A plan is a text, the same wherever a precision is asked for (``dtype=`` of the engine, the option of the pass
native_encoder, the file of ``bertpass pack``): a type for all products, then what has another one, later words winning
over earlier ones::

    int8    int8,0=bfloat16    int8,3.down=float32,4.up=bfloat16

Layers count from 0; the products of a layer are qkv (queries, keys and values), proj (attention's output), up and down
(the feed-forward network). ``bertpass/csrc/layer/types.h`` reads it.
"""

from __future__ import annotations

from collections.abc import Mapping

PRODUCTS = ("qkv", "proj", "up", "down")
#: a type's next better one
HIGHER = {"int8": "bfloat16", "bfloat16": "float32"}


def plan_text(dtype: str, keep: Mapping[str, str] | None = None) -> str:
    """The plan of ``dtype`` for all products but those of ``keep``: "LAYER" or "LAYER.PRODUCT" -> type."""
    return ",".join([dtype, *(f"{part}={kind}" for part, kind in (keep or {}).items())])


def base_of(plan: str) -> str:
    """The type that a plan gives to whatever it does not name."""
    return plan.partition(",")[0]


def kept_by(plan: str) -> dict[str, str]:
    """What a plan names: "LAYER" or "LAYER.PRODUCT" -> type."""
    return {part: kind for part, _, kind in (word.partition("=") for word in plan.split(",")[1:])}


def products(plan: str, layers: int) -> dict[str, str]:
    """The type of every product of a model, by "LAYER.PRODUCT"; UsageError where the plan does not fit the model."""
    from bertpass import _native  # here, because most users of a plan only hand it on

    return {f"{layer}.{name}": types[name] for layer, types in enumerate(_native.plan(plan, layers))
            for name in PRODUCTS}
