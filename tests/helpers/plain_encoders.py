"""Encoders that the installed transformers has no classes for, in plain PyTorch: small ones with random weights.

Written from what the models' authors and the libraries that serve them say of them, not from this project's engines:
Nomic's (nomic-ai/contrastors, models/huggingface), GTE's and Jina's (huggingface/text-embeddings-inference,
backends/candle/src/models/gte.rs and jina.rs). Tensors and keys of config.json are called as in those models' folders.
Each text is computed alone, without padding, in float64.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

UNITS, INNER, HEADS, LAYERS = 24, 40, 3, 3

#: config.json of a published model of the family, with small sizes
CONFIGS: dict[str, dict[str, Any]] = {
    "nomic_bert": {
        "model_type": "nomic_bert", "n_embd": UNITS, "n_inner": INNER, "n_head": HEADS, "n_layer": LAYERS,
        "n_positions": 24, "vocab_size": 60, "type_vocab_size": 2, "layer_norm_epsilon": 1e-12,
        "activation_function": "swiglu", "rotary_emb_base": 1000, "rotary_emb_fraction": 1.0,
        "rotary_emb_interleaved": False, "rotary_emb_scale_base": None, "rotary_scaling_factor": None,
        "max_trained_positions": 2048, "qkv_proj_bias": False, "mlp_fc1_bias": False, "mlp_fc2_bias": False,
        "prenorm": False, "parallel_block": False, "parallel_block_tied_norm": False, "use_rms_norm": False,
        "causal": False, "use_flash_attn": True, "use_xentropy": True, "fused_bias_fc": True,
        "fused_dropout_add_ln": True, "pad_vocab_size_multiple": 1, "dense_seq_output": True,
        "scale_attn_weights": True, "scale_attn_by_inverse_layer_idx": False, "reorder_and_upcast_attn": False,
        "attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0, "summary_type": "cls_index",
        "summary_use_proj": True, "summary_activation": None, "summary_proj_to_labels": True,
        "summary_first_dropout": 0.0, "initializer_range": 0.02, "bos_token_id": None, "eos_token_id": None,
        "use_cache": True, "auto_map": {"AutoConfig": "configuration_hf_nomic_bert.NomicBertConfig",
                                        "AutoModel": "modeling_hf_nomic_bert.NomicBertModel"}},
    "new": {
        "model_type": "new", "hidden_size": UNITS, "intermediate_size": INNER, "num_attention_heads": HEADS,
        "num_hidden_layers": LAYERS, "max_position_embeddings": 24, "vocab_size": 60, "type_vocab_size": 1,
        "layer_norm_eps": 1e-12, "layer_norm_type": "layer_norm", "hidden_act": "gelu",
        "position_embedding_type": "rope", "rope_theta": 20000, "rope_scaling": {"factor": 8.0, "type": "ntk"},
        "pack_qkv": True, "unpad_inputs": False, "use_memory_efficient_attention": False,
        "logn_attention_scale": False, "logn_attention_clip1": False, "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.0, "classifier_dropout": 0.0, "pad_token_id": 1, "initializer_range": 0.02,
        "auto_map": {"AutoConfig": "configuration.NewConfig", "AutoModel": "modeling.NewModel"}},
    "jina_bert": {
        "model_type": "bert", "hidden_size": UNITS, "intermediate_size": INNER, "num_attention_heads": HEADS,
        "num_hidden_layers": LAYERS, "max_position_embeddings": 24, "vocab_size": 60, "type_vocab_size": 2,
        "layer_norm_eps": 1e-12, "hidden_act": "gelu", "feed_forward_type": "geglu", "emb_pooler": "mean",
        "position_embedding_type": "alibi", "attn_implementation": None, "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.0, "classifier_dropout": None, "pad_token_id": 0, "use_cache": True,
        "gradient_checkpointing": False, "initializer_range": 0.02, "model_max_length": 8192,
        "auto_map": {"AutoConfig": "jinaai/jina-bert-implementation--configuration_bert.JinaBertConfig",
                     "AutoModel": "jinaai/jina-bert-implementation--modeling_bert.JinaBertModel"}},
}
CLASSES = {"nomic_bert": "NomicBert", "new": "New", "jina_bert": "JinaBert"}
_PREFIX = {"nomic_bert": "bert.", "new": "new.", "jina_bert": "bert."}


def _shapes(family: str, config: dict[str, Any], suffix: str) -> dict[str, tuple[int, ...]]:
    """The tensors of an encoder by their names in a folder, then those of the head."""
    found: dict[str, tuple[int, ...]] = {"embeddings.word_embeddings.weight": (config["vocab_size"], UNITS)}
    if config["type_vocab_size"]:
        found["embeddings.token_type_embeddings.weight"] = (config["type_vocab_size"], UNITS)

    def dense(name: str, rows: int, columns: int, bias: bool = True) -> None:
        found.update({f"{name}.weight": (rows, columns), **({f"{name}.bias": (rows,)} if bias else {})})

    def norm(name: str) -> None:
        found.update({f"{name}.weight": (UNITS,), f"{name}.bias": (UNITS,)})

    norm("emb_ln" if family == "nomic_bert" else "embeddings.LayerNorm")
    for layer in range(LAYERS):
        if family == "nomic_bert":
            at = f"encoder.layers.{layer}"
            dense(f"{at}.attn.Wqkv", 3 * UNITS, UNITS, False)
            dense(f"{at}.attn.out_proj", UNITS, UNITS, False)
            dense(f"{at}.mlp.fc11", INNER, UNITS, False)
            dense(f"{at}.mlp.fc12", INNER, UNITS, False)
            dense(f"{at}.mlp.fc2", UNITS, INNER, False)
            norm(f"{at}.norm1")
            norm(f"{at}.norm2")
        elif family == "new":
            at = f"encoder.layer.{layer}"
            dense(f"{at}.attention.qkv_proj", 3 * UNITS, UNITS)
            dense(f"{at}.attention.o_proj", UNITS, UNITS)
            dense(f"{at}.mlp.up_gate_proj", 2 * INNER, UNITS, False)
            dense(f"{at}.mlp.down_proj", UNITS, INNER)
            norm(f"{at}.attn_ln")
            norm(f"{at}.mlp_ln")
        else:
            at = f"encoder.layer.{layer}"
            for part in ("query", "key", "value"):
                dense(f"{at}.attention.self.{part}", UNITS, UNITS)
            dense(f"{at}.attention.output.dense", UNITS, UNITS)
            norm(f"{at}.attention.output.LayerNorm")
            dense(f"{at}.mlp.gated_layers", 2 * INNER, UNITS, False)
            dense(f"{at}.mlp.wo", UNITS, INNER)
            norm(f"{at}.mlp.layernorm")
    if suffix == "ForSequenceClassification" or (suffix == "Model" and family == "jina_bert"):
        dense("pooler.dense", UNITS, UNITS)
    if suffix == "Model":
        return found
    if suffix == "ForMaskedLM":
        return {**{_PREFIX[family] + name: shape for name, shape in found.items()}, **_words(family, config)}
    found = {_PREFIX[family] + name: shape for name, shape in found.items()}
    dense("qa_outputs" if suffix == "ForQuestionAnswering" else "classifier", config.get("num_labels", 2), UNITS)
    return found


#: layer, its normalisation, the words' bias ("" for none), by their names in a folder
_WORDS = {"nomic_bert": ("cls.predictions.transform.dense", "cls.predictions.transform.layer_norm", ""),
          "new": ("lm_head.dense", "lm_head.norm", "lm_head.decoder.bias"),
          "jina_bert": ("cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm",
                        "cls.predictions.bias")}


def _words(family: str, config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """The head of masked words, whose last weights are the table of words: NomicBertForPreTraining of the same file of
    contrastors (whose layers have biases where mlp_fc1_bias says so), NewForMaskedLM and JinaBertForMaskedLM as the
    models' config.json name them."""
    dense, norm, bias = _WORDS[family]
    return {f"{dense}.weight": (UNITS, UNITS), **({f"{dense}.bias": (UNITS,)} if bias else {}),
            f"{norm}.weight": (UNITS,), f"{norm}.bias": (UNITS,), **({bias: (config["vocab_size"],)} if bias else {})}


class PlainEncoder:
    """Called as a model of transformers is, and saved as one."""

    def __init__(self, family: str, suffix: str, seed: int = 0, **fields: Any) -> None:
        import torch

        self.family, self.suffix = family, suffix
        self.config = {**CONFIGS[family], "architectures": [CLASSES[family] + suffix], **fields}
        if "num_labels" in fields:
            names = [f"LABEL_{at}" for at in range(self.config["num_labels"])]
            self.config.update(id2label=dict(enumerate(names)), label2id={name: at for at, name in enumerate(names)})
        source = torch.Generator().manual_seed(seed)
        self.tensors = {}
        for name, shape in _shapes(family, self.config, suffix).items():
            centre = 1.0 if len(shape) == 1 and name.endswith("weight") else 0.0
            self.tensors[name] = torch.randn(shape, generator=source) * 0.25 + centre

    def save_pretrained(self, folder: Path) -> None:
        from safetensors.torch import save_file

        folder.mkdir(parents=True, exist_ok=True)
        content = {key: value for key, value in self.config.items() if key != "num_labels"}
        (folder / "config.json").write_text(json.dumps({**content, "torch_dtype": "float32"}))
        save_file(self.tensors, folder / "model.safetensors", metadata={"format": "pt"})

    def __call__(self, input_ids: Any, attention_mask: Any, token_type_ids: Any = None, **_: Any) -> Any:
        import torch

        rows = []
        for at, count in enumerate(attention_mask.sum(1).tolist()):
            types = torch.zeros(count, dtype=torch.int64) if token_type_ids is None else token_type_ids[at, :count]
            states = self._states(input_ids[at, :count], types)
            rows.append(self._head(states, input_ids.shape[1]))
        outputs = tuple(torch.stack(column).float() for column in zip(*rows, strict=True))
        return SimpleNamespace(to_tuple=lambda: outputs)

    def _head(self, states: Any, length: int) -> list[Any]:
        import torch

        padded = torch.nn.functional.pad(states, (0, 0, 0, length - len(states)))
        if self.suffix == "Model":
            return [padded]
        if self.suffix == "ForSequenceClassification":
            return [self._dense("classifier", torch.tanh(self._dense("pooler.dense", states[0])))]
        if self.suffix == "ForTokenClassification":
            return [self._dense("classifier", padded)]
        if self.suffix == "ForMaskedLM":
            dense, norm, bias = _WORDS[self.family]
            inner = self._norm(norm, self._activation(self._dense(dense, padded)))
            return [inner @ self._of("embeddings.word_embeddings.weight").T + (self._of(bias) if bias else 0)]
        return list(self._dense("qa_outputs", padded).unbind(-1))

    def _of(self, name: str) -> Any:
        found = self.tensors.get(name, self.tensors.get(_PREFIX[self.family] + name))
        return None if found is None else found.double()

    def _dense(self, name: str, x: Any) -> Any:
        bias = self._of(f"{name}.bias")
        return x @ self._of(f"{name}.weight").T + (0 if bias is None else bias)

    def _norm(self, name: str, x: Any) -> Any:
        x = x - x.mean(-1, keepdim=True)
        x = x / (x.pow(2).mean(-1, keepdim=True) + 1e-12).sqrt()
        return x * self._of(f"{name}.weight") + self._of(f"{name}.bias")

    def _states(self, ids: Any, types: Any) -> Any:
        x = self._of("embeddings.word_embeddings.weight")[ids]
        table = self._of("embeddings.token_type_embeddings.weight")
        if table is not None:
            x = x + table[types]
        if self.family == "nomic_bert":
            x = self._norm("emb_ln", x)
            for layer in range(LAYERS):
                at = f"encoder.layers.{layer}"
                q, k, v = self._dense(f"{at}.attn.Wqkv", x).chunk(3, -1)
                x = self._norm(f"{at}.norm1", x + self._dense(f"{at}.attn.out_proj", self._attention(q, k, v)))
                gate = self._activation(self._dense(f"{at}.mlp.fc12", x))
                x = self._norm(f"{at}.norm2", x + self._dense(f"{at}.mlp.fc2", self._dense(f"{at}.mlp.fc11", x) * gate))
            return x
        x = self._norm("embeddings.LayerNorm", x)
        for layer in range(LAYERS):
            at = f"encoder.layer.{layer}"
            if self.family == "new":
                q, k, v = self._dense(f"{at}.attention.qkv_proj", x).chunk(3, -1)
                x = self._norm(f"{at}.attn_ln", x + self._dense(f"{at}.attention.o_proj", self._attention(q, k, v)))
                up, gate = self._dense(f"{at}.mlp.up_gate_proj", x).chunk(2, -1)
                x = self._norm(f"{at}.mlp_ln", x + self._dense(f"{at}.mlp.down_proj", self._activation(gate) * up))
            else:
                q, k, v = (self._dense(f"{at}.attention.self.{part}", x) for part in ("query", "key", "value"))
                attended = self._dense(f"{at}.attention.output.dense", self._attention(q, k, v))
                x = self._norm(f"{at}.attention.output.LayerNorm", x + attended)
                gated, plain = self._dense(f"{at}.mlp.gated_layers", x).chunk(2, -1)
                x = self._norm(f"{at}.mlp.layernorm", x + self._dense(f"{at}.mlp.wo", self._activation(gated) * plain))
        return x

    def _activation(self, x: Any) -> Any:
        import torch

        silu = self.config.get("activation_function") == "swiglu"
        return x * torch.sigmoid(x) if silu else x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))

    def _attention(self, q: Any, k: Any, v: Any) -> Any:
        import torch

        size, count = UNITS // HEADS, len(q)
        q, k, v = (part.view(count, HEADS, size).transpose(0, 1) for part in (q, k, v))
        if self.family != "jina_bert":
            q, k = self._turned(q), self._turned(k)
        scores = q @ k.transpose(1, 2) / math.sqrt(size)
        if self.family == "jina_bert":  # three heads: those of two, and the first one of four
            slopes = torch.tensor([2.0**-4, 2.0**-8, 2.0**-2], dtype=torch.float64)
            place = torch.arange(count)
            scores = scores - slopes[:, None, None] * (place[:, None] - place).abs()
        return (scores.softmax(-1) @ v).transpose(0, 1).reshape(count, UNITS)

    def _turned(self, x: Any) -> Any:
        """Pairs (i, i + size / 2) as complex numbers, turned."""
        import torch

        size = x.shape[-1]
        base = float(self.config.get("rotary_emb_base", self.config.get("rope_theta", 0)))
        factor = (self.config.get("rope_scaling") or {}).get("factor", 1.0)
        speeds = [1 / (base * factor) ** (2 * i / size) / factor ** (2 / size) for i in range(size // 2)]
        angles = torch.outer(torch.arange(x.shape[1], dtype=torch.float64), torch.tensor(speeds, dtype=torch.float64))
        turned = torch.complex(x[..., :size // 2], x[..., size // 2:]) * torch.polar(torch.ones_like(angles), angles)
        return torch.cat([turned.real, turned.imag], -1)
