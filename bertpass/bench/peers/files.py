"""The files that the peers load, made from one folder of sentence-transformers by the peers' own tools.

The folder is written by this package; :func:`make` runs in the peers' Python and adds what is missing: the ONNX exports
of sentence-transformers, the OpenVINO models, CTranslate2's folder and llama.cpp's GGUF files. A model that a tool does
not know lacks that tool's files; the contenders that need them say so.
"""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bertpass.bench.peers.contenders import (
    CT2,
    GGUF_F16,
    GGUF_Q8,
    ONNX,
    ONNX_FUSED,
    ONNX_INT8,
    OPENVINO,
    OPENVINO_INT8,
)

log = logging.getLogger(__name__)
CALIBRATION = 300  # sentences, as nncf's default


def make(folder: Path, sentences: Sequence[str]) -> None:
    """Add the missing files to a folder; ``sentences`` are for the calibration of OpenVINO's int8."""
    steps: list[tuple[str, Callable[[], None]]] = [
        (ONNX, lambda: _exported(folder, "onnx")), (ONNX_FUSED, lambda: _fused(folder)),
        (ONNX_INT8, lambda: _quantized(folder)), (OPENVINO, lambda: _exported(folder, "openvino")),
        (OPENVINO_INT8, lambda: _calibrated(folder, sentences)), (CT2, lambda: _ctranslate2(folder)),
        (GGUF_F16, lambda: gguf_file(folder, folder / GGUF_F16, "F16")),
        (GGUF_Q8, lambda: gguf_file(folder, folder / GGUF_Q8, "Q8_0"))]
    for name, step in steps:
        if not (folder / name).exists():
            try:
                step()
            except Exception:  # whatever a tool raises: the others' files are made all the same
                log.exception("%s was not made", name)


def _exported(folder: Path, backend: str) -> None:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), backend=backend, model_kwargs={"export": True})
    with tempfile.TemporaryDirectory() as saved:  # its other files are for this version of the library alone
        model.save_pretrained(saved)
        shutil.copytree(Path(saved) / backend, folder / backend, dirs_exist_ok=True)


def _fused(folder: Path) -> None:
    from sentence_transformers import SentenceTransformer, export_optimized_onnx_model

    model = SentenceTransformer(str(folder), backend="onnx", model_kwargs={"file_name": ONNX})
    export_optimized_onnx_model(model, "O3", str(folder))


def _quantized(folder: Path) -> None:
    from sentence_transformers import SentenceTransformer, export_dynamic_quantized_onnx_model

    model = SentenceTransformer(str(folder), backend="onnx", model_kwargs={"file_name": ONNX})
    export_dynamic_quantized_onnx_model(model, "avx512_vnni", str(folder))


def _calibrated(folder: Path, sentences: Sequence[str]) -> None:
    import nncf
    import openvino
    from tokenizers import Tokenizer

    model = openvino.Core().read_model(folder / OPENVINO)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(128)
    names = {port.get_any_name() for port in model.inputs}

    def inputs(one: Any) -> dict[str, np.ndarray]:
        rows = {"input_ids": one.ids, "attention_mask": one.attention_mask, "token_type_ids": one.type_ids}
        return {name: np.array([row], np.int64) for name, row in rows.items() if name in names}

    data = nncf.Dataset([inputs(one) for one in tokenizer.encode_batch(list(sentences[:CALIBRATION]))])
    found = nncf.quantize(model, data, subset_size=CALIBRATION, model_type=nncf.ModelType.TRANSFORMER)
    openvino.save_model(found, folder / OPENVINO_INT8, compress_to_fp16=False)


def _ctranslate2(folder: Path) -> None:
    from ctranslate2.converters import TransformersConverter

    TransformersConverter(str(folder)).convert(str(folder / CT2))


# part of a name in a Hugging Face folder of BERT -> that in a GGUF file
_NAMES = {"attention.self.query": "attn_q", "attention.self.key": "attn_k", "attention.self.value": "attn_v",
          "attention.output.dense": "attn_output", "attention.output.LayerNorm": "attn_output_norm",
          "intermediate.dense": "ffn_up", "output.dense": "ffn_down", "output.LayerNorm": "layer_output_norm"}
_EMBEDDINGS = {"word_embeddings": "token_embd", "position_embeddings": "position_embd",
               "token_type_embeddings": "token_types", "LayerNorm": "token_embd_norm"}


def gguf_name(name: str) -> str | None:
    """The name of an array in a GGUF file of architecture bert; None for one that llama.cpp does not take.

    ``name`` is that in a Hugging Face folder, with or without the prefix "bert.".
    """
    parts = name.removeprefix("bert.").split(".")
    stem, kind = ".".join(parts[:-1]), parts[-1]
    if stem.startswith("embeddings."):
        known = _EMBEDDINGS.get(stem.removeprefix("embeddings."))
        return known and f"{known}.{kind}"
    if stem.startswith("encoder.layer."):
        known = _NAMES.get(".".join(parts[3:-1]))
        return known and f"blk.{parts[2]}.{known}.{kind}"
    return None


def gguf_word(word: str, special: bool) -> str:
    """A word of a WordPiece vocabulary as llama.cpp has it: continuations bare, first pieces behind U+2581."""
    return word if special else word[2:] if word.startswith("##") else "\u2581" + word


def gguf_file(folder: Path, path: Path, kind: str) -> None:
    """Write a BERT encoder with mean pooling as GGUF: matrices in ``kind`` ("F16" or "Q8_0"), the rest in float32."""
    import gguf
    from safetensors.numpy import load_file
    from tokenizers import Tokenizer

    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if config["model_type"] != "bert":
        raise ValueError(f"llama.cpp's architecture bert is not {config['model_type']}")
    writer = gguf.GGUFWriter(str(path), "bert")
    writer.add_name(folder.name)
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_layer_norm_eps(config["layer_norm_eps"])
    writer.add_causal_attention(False)
    writer.add_pooling_type(gguf.PoolingType.MEAN)
    writer.add_file_type(getattr(gguf.LlamaFileType, f"MOSTLY_{kind}"))
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    words = [tokenizer.id_to_token(n) for n in range(config["vocab_size"])]
    special = {word for word in words if word.startswith("[") and word.endswith("]") and len(word) > 2}
    writer.add_token_type_count(config["type_vocab_size"])
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([gguf_word(word, word in special) for word in words])
    kinds = gguf.TokenType
    writer.add_token_types([kinds.CONTROL if word in special else kinds.NORMAL for word in words])
    for add, word in ((writer.add_bos_token_id, "[CLS]"), (writer.add_sep_token_id, "[SEP]"),
                      (writer.add_eos_token_id, "[SEP]"), (writer.add_pad_token_id, "[PAD]"),
                      (writer.add_unk_token_id, "[UNK]"), (writer.add_mask_token_id, "[MASK]")):
        add(words.index(word))
    low = getattr(gguf.GGMLQuantizationType, kind)
    for name, array in load_file(folder / "model.safetensors").items():
        known = gguf_name(name)
        if known is None:
            continue
        values = array.astype(np.float32)
        if values.ndim < 2 or known.startswith(("position_embd", "token_types")):
            writer.add_tensor(known, values)
        else:
            writer.add_tensor(known, gguf.quants.quantize(values, low), raw_dtype=low)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
