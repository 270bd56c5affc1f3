"""Positions without a table in a config.json: what it says of rotary angles, windows and slopes, and the other way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bertpass.errors import ModelError

_FULL, _LOCAL = "full_attention", "sliding_attention"


def read(family: str, content: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of EncoderConfig that a config.json says about positions without a table.

    Raises
    ------
    ModelError
        It asks for a form of them that is not computed.
    """
    if family == "modernbert":
        return _modernbert(content)
    if family == "deberta-v2":
        return _deberta(content)
    content = {key: value for key, value in content.items() if value is not None}
    if family == "nomic_bert":
        for key, fine in (("rotary_emb_fraction", 1.0), ("rotary_emb_interleaved", False),
                          ("rotary_scaling_factor", None), ("rotary_emb_scale_base", None)):
            if content.get(key, fine) != fine:
                raise ModelError(f"config.json says {key} {content[key]!r}; only {fine!r} is computed.")
        now = _theta(content.get("rope_parameters"), "rope_parameters", None)  # the form of transformers 5
        theta = content.get("rotary_emb_base", 10000.0 if "n_embd" in content else 1000.0 if now is None else now)
        if now not in (None, theta):
            raise ModelError(f"config.json says rotary_emb_base {theta} and rope_theta {now}; make them the same.")
        return {"rope_theta": float(theta)}
    older = "rope_theta" in content or "rope_scaling" in content
    if family == "new" and "rope_parameters" in content and (content.get("model_type") == "gte" or not older):
        return _linear(content)
    if family == "new":
        scaling = content.get("rope_scaling") or {}
        if scaling and (scaling.get("type", scaling.get("rope_type")) != "ntk" or
                        set(scaling) - {"type", "rope_type", "factor"}):
            raise ModelError(f"config.json says rope_scaling {scaling!r}; only the type 'ntk' with a factor is "
                             "computed.")
        return {"rope_theta": float(content.get("rope_theta", 10000.0)),
                "rope_factor": float(scaling.get("factor", 1.0))}
    return {}


def _linear(content: Mapping[str, Any]) -> dict[str, Any]:
    """GTE's angles in the form of transformers 5, whose type "linear" divides all of them by one factor."""
    said = content["rope_parameters"]
    other = [key for key in ("rope_theta", "rope_scaling") if content.get(key) is not None]
    kind = said.get("rope_type", "default") if isinstance(said, dict) else None
    numbers = ["rope_theta", *(["factor"] if kind == "linear" else [])]
    if (other or kind not in ("default", "linear") or set(said) - {"rope_type", *numbers} or
            not all(_is_number(said.get(name)) for name in numbers)):
        raise ModelError(f"config.json says rope_parameters {said!r:.80}{f' and {other[0]}' if other else ''}; only "
                         "the types 'default' and 'linear' with a rope_theta and, for the second, a factor are "
                         "computed.")
    units, heads = (content.get(key) for key in ("hidden_size", "num_attention_heads"))
    if not isinstance(units, int) or not isinstance(heads, int) or heads < 1:
        return {}  # which is refused for its sizes
    power = min(units // heads, 4096) / 2
    try:
        factor = float(said.get("factor", 1.0)) ** power
    except OverflowError:
        factor = float("inf")  # which is refused
    return {"rope_theta": float(said["rope_theta"]) / factor, "rope_factor": factor}


def _is_number(value: Any) -> bool:
    """Whether it is a number of an ordinary size, whose powers can be computed."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 1 <= value <= 1e12


def _theta(said: Any, part: str, default: Any) -> Any:
    """The base of an object of rope_parameters; ModelError where it is no plain one."""
    said = said if isinstance(said, dict) else {}
    if said.get("rope_type", "default") != "default":
        raise ModelError(f"config.json says rope_type '{said['rope_type']}' for {part}; only 'default' is computed.")
    return said.get("rope_theta", default)


def _modernbert(content: Mapping[str, Any]) -> dict[str, Any]:
    said = content.get("rope_parameters")  # the form of transformers 5
    said = said if isinstance(said, dict) else {}
    theta = _theta(said.get(_FULL), _FULL, content.get("global_rope_theta", 160000.0))
    local = _theta(said.get(_LOCAL), _LOCAL, content.get("local_rope_theta", 10000.0))
    every = content.get("global_attn_every_n_layers") or 3
    kinds = content.get("layer_types")
    if kinds is not None:
        count = int(content.get("num_hidden_layers", len(kinds)))
        every = next((n for n in (every, *range(1, count + 1))
                      if list(kinds) == [_FULL if layer % n == 0 else _LOCAL for layer in range(count)]), 0)
        if not every:
            raise ModelError("config.json's layer_types are not full_attention in every Nth layer from the first on; "
                             "only that is computed.")
    across = content.get("local_attention", 128)
    if every != 1 and (isinstance(across, bool) or not isinstance(across, int) or across < 2):
        raise ModelError(f"config.json says local_attention {across!r}; a window has 2 tokens at least.")
    return {"rope_theta": float(theta), "rope_local_theta": float(theta if local is None else local),
            "window": across // 2 if every != 1 else 0, "global_every": every}


#: what the published models have, and what is computed
_DEBERTA = {"relative_attention": True, "share_att_key": True, "position_biased_input": False,
            "norm_rel_ebd": "layer_norm", "pos_att_type": "p2c|c2p"}


def _deberta(content: Mapping[str, Any]) -> dict[str, Any]:
    for key, wanted in _DEBERTA.items():
        if _words(content.get(key)) != _words(wanted):
            raise ModelError(f"config.json says {key} {content.get(key)!r}; only {wanted!r} is computed.")
    if content.get("type_vocab_size", 0) != 0:
        raise ModelError(f"config.json says type_vocab_size {content['type_vocab_size']}; only 0 is computed.")
    if content.get("layer_norm_eps") is None:  # whose default is another one here
        raise ModelError("config.json lacks layer_norm_eps, which an encoder of type deberta-v2 needs.")
    said, most = content.get("max_relative_positions"), content.get("max_position_embeddings")
    buckets = content.get("position_buckets")
    return {"relative_positions": most if said in (None, 0, -1) else said,
            "position_buckets": 0 if buckets in (None, -1) else buckets}


def _words(value: Any) -> Any:
    """A list, or words with | between them, as a set; anything else as it is."""
    if isinstance(value, str):
        value = value.lower().split("|")
    return {str(one).strip() for one in value} if isinstance(value, list) else value


def write(family: str, fields: Mapping[str, Any], carried: Mapping[str, Any]) -> dict[str, Any]:
    """Keys of a config.json that say what EncoderConfig's ``fields`` do; ``carried`` are those of the one read."""
    theta = fields["rope_theta"]
    if family == "modernbert":
        return {"global_rope_theta": theta, "local_rope_theta": fields["rope_local_theta"] or theta,
                "local_attention": carried.get("local_attention", 2 * fields["window"] or 128),
                "global_attn_every_n_layers": fields["global_every"] if fields["window"] else 1}
    if family == "nomic_bert":
        return {"rotary_emb_base": theta, "rotary_emb_fraction": 1.0, "rotary_emb_interleaved": False,
                "rope_parameters": {"rope_type": "default", "rope_theta": theta}}
    if family == "new":
        if not carried.get("auto_map"):  # the form of transformers 5
            size, factor = fields["units"] // fields["num_heads"], fields["rope_factor"]
            kind: dict[str, Any] = {"rope_type": "default"}
            if factor != 1:
                kind = {"rope_type": "linear", "factor": factor ** (2 / size)}
            return {"rope_parameters": {**kind, "rope_theta": theta * factor}, "rope_theta": None, "rope_scaling": None}
        scaling = {"type": "ntk", "factor": fields["rope_factor"]} if fields["rope_factor"] != 1 else None
        return {"rope_theta": theta, "rope_scaling": scaling, "position_embedding_type": "rope"}
    if family == "deberta-v2":
        return {"max_relative_positions": fields["relative_positions"],
                "position_buckets": fields["position_buckets"] or -1}
    return {"position_embedding_type": "alibi"} if family == "jina_bert" else {}
