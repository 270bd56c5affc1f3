"""The process of one contender: a library loads a model's folder and computes vectors. Each library is one class here.

Started by :mod:`bertpass.bench.peers.process`, in the Python that has the library. Commands:

=======  ===========================  ==================================================================
load     contender, folder, threads   version of the library, seconds of importing and loading
make     folder, sentences            writes the files that others load, see :mod:`bertpass.bench.peers.files`
encode   texts, batch                 seconds of the call; shape and bytes of the vectors, float32
=======  ===========================  ==================================================================
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bertpass.base import child
from bertpass.bench import quiet
from bertpass.bench.peers.contenders import Contender
from bertpass.errors import MissingDependencyError

Encode = Callable[[list[Any], int], Any]  # texts (or ids of rows), rows of a batch -> vectors


def _bertpass(contender: Contender, folder: str, threads: int) -> Encode:
    import bertpass

    encoder = bertpass.SentenceEncoder(folder, dtype=contender.precision, threads=threads)
    return lambda texts, batch: encoder.encode(texts, batch_size=batch, normalize_embeddings=True)


def _library(folder: str, threads: int, backend: str, settings: dict[str, Any]) -> Encode:
    """sentence-transformers with a backend."""
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(threads)
    encoder = SentenceTransformer(folder, backend=backend, device="cpu", model_kwargs=settings)
    return lambda texts, batch: encoder.encode(texts, batch_size=batch, show_progress_bar=False,
                                               normalize_embeddings=True)


def _torch(contender: Contender, folder: str, threads: int) -> Encode:
    settings = {} if contender.precision == "float32" else {"dtype": contender.precision}
    encode = _library(folder, threads, "torch", settings)
    return lambda texts, batch: np.asarray(encode(texts, batch), np.float32)


def _onnx(contender: Contender, folder: str, threads: int) -> Encode:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return _library(folder, threads, "onnx", {"file_name": contender.file, "session_options": options,
                                              "provider": "CPUExecutionProvider"})


def _openvino(contender: Contender, folder: str, threads: int) -> Encode:
    config = {"INFERENCE_NUM_THREADS": str(threads), "NUM_STREAMS": "1", "PERFORMANCE_HINT": "LATENCY"}
    if contender.precision == "float32":
        config["INFERENCE_PRECISION_HINT"] = "f32"
    return _library(folder, threads, "openvino", {"file_name": contender.file, "ov_config": config})


def _fastembed(contender: Contender, folder: str, threads: int) -> Encode:
    from fastembed import TextEmbedding
    from fastembed.common.model_description import ModelSource, PoolingType

    units = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))["hidden_size"]
    TextEmbedding.add_custom_model(model="peers/model", pooling=PoolingType.MEAN, normalization=True, dim=units,
                                   sources=ModelSource(hf="peers/model"), model_file=contender.file)
    encoder = TextEmbedding("peers/model", specific_model_path=folder, threads=threads,
                            providers=["CPUExecutionProvider"])
    return lambda texts, batch: np.stack(list(encoder.embed(texts, batch_size=batch)))


def _ctranslate2(contender: Contender, folder: str, threads: int) -> Encode:
    import ctranslate2

    kind = {"int8": "int8_float32"}.get(contender.precision, contender.precision)
    encoder = ctranslate2.Encoder(str(Path(folder) / contender.file), device="cpu", compute_type=kind,
                                  inter_threads=1, intra_threads=threads)
    tokenizer = _tokenizer(folder)

    def encode(texts: list[str], batch: int) -> np.ndarray:
        rows = [one.ids for one in tokenizer.encode_batch(texts)]
        order = sorted(range(len(rows)), key=lambda n: -len(rows[n]))
        found: dict[int, np.ndarray] = {}
        for at in range(0, len(order), batch):
            part = order[at:at + batch]
            states = np.array(encoder.forward_batch([rows[n] for n in part]).last_hidden_state.to(
                ctranslate2.DataType.float32))
            for n, row in zip(part, states, strict=True):
                found[n] = row[:len(rows[n])].mean(0)
        return _unit(np.stack([found[n] for n in range(len(rows))]))
    return encode


def _llama(contender: Contender, folder: str, threads: int) -> Encode:
    import llama_cpp

    longest = _max_length(folder)
    room = 4 * longest  # tokens of one pass: it masks all of them against all, which more of them make slower
    model = llama_cpp.Llama(str(Path(folder) / contender.file), embedding=True, n_ctx=room, n_batch=room, n_ubatch=room,
                            n_seq_max=32, n_threads=threads, n_threads_batch=threads, verbose=False,
                            pooling_type=llama_cpp.LLAMA_POOLING_TYPE_MEAN)
    tokenizer = _tokenizer(folder)  # to cut as the others do; the library reads the text again

    def encode(texts: list[str], _: int) -> np.ndarray:
        cut = [text[:one.offsets[-2][1]] if len(one.ids) == longest else text for text, one in
               zip(texts, tokenizer.encode_batch(texts), strict=True)]
        return np.array(model.embed(cut, normalize=True, truncate=True), np.float32)
    return encode


def _infinity(contender: Contender, folder: str, threads: int) -> Encode:
    import asyncio

    import torch
    from infinity_emb import AsyncEmbeddingEngine, EngineArgs

    torch.set_num_threads(threads)
    loop = asyncio.new_event_loop()
    engines: dict[int, Any] = {}

    def encode(texts: list[str], batch: int) -> np.ndarray:
        if batch not in engines:
            engines[batch] = AsyncEmbeddingEngine.from_args(EngineArgs(
                model_name_or_path=folder, device="cpu", engine="torch", batch_size=batch, model_warmup=False,
                bettertransformer=False))
            loop.run_until_complete(engines[batch].astart())
        return np.stack(loop.run_until_complete(engines[batch].embed(sentences=texts))[0])
    return encode


def _our_rows(contender: Contender, folder: str, threads: int) -> Encode:
    from bertpass.engines.native import NativeEngine
    from bertpass.engines.rows import joined
    from bertpass.model.checkpoint import load_checkpoint
    from bertpass.model.config import HeadConfig

    checkpoint = dataclasses.replace(load_checkpoint(folder), head=HeadConfig("none"), labels=None)
    engine = NativeEngine(checkpoint, dtype=contender.precision, threads=threads)

    def encode(rows: list[Any], _: int) -> np.ndarray:
        ids = [np.asarray(row, np.int32) for row in rows]
        out = engine.rows(*joined([(row, np.zeros_like(row)) for row in ids]))[0]
        assert out.offsets is not None
        return out.values[out.offsets[:-1]]
    return encode


def _transformer(folder: str, threads: int) -> Any:
    import torch
    from transformers import AutoModel

    torch.set_num_threads(threads)
    return AutoModel.from_pretrained(folder, add_pooling_layer=False, attn_implementation="sdpa").eval()


def _padded_rows(contender: Contender, folder: str, threads: int) -> Encode:
    import torch

    model = _transformer(folder, threads)

    def encode(rows: list[Any], _: int) -> np.ndarray:
        ids = np.zeros((len(rows), max(map(len, rows))), np.int64)
        mask = np.zeros_like(ids)
        for n, row in enumerate(rows):
            ids[n, :len(row)], mask[n, :len(row)] = row, 1
        with torch.inference_mode():
            states = model(input_ids=torch.from_numpy(ids), attention_mask=torch.from_numpy(mask)).last_hidden_state
        return states[:, 0].numpy()
    return encode


def _packed_rows(contender: Contender, folder: str, threads: int) -> Encode:
    import torch
    from gliner.infer_packing import InferencePackingConfig, pack_requests, unpack_spans

    model = _transformer(folder, threads)
    settings = InferencePackingConfig(max_length=model.config.max_position_embeddings, sep_token_id=None,
                                      streams_per_batch=1)

    def encode(rows: list[Any], _: int) -> np.ndarray:
        packed = pack_requests([{"input_ids": list(row)} for row in rows], settings, 0)
        mask = packed.pair_attention_mask.to(torch.int64)  # (lines, tokens, tokens)
        positions = torch.zeros_like(packed.input_ids)  # each row's begin at 0, as they do alone
        for line, starts, lengths in zip(positions, packed.offsets, packed.lengths, strict=True):
            for start, length in zip(starts, lengths, strict=True):
                line[start:start + length] = torch.arange(length)
        with torch.inference_mode():
            states = model(input_ids=packed.input_ids, attention_mask=mask, position_ids=positions).last_hidden_state
        return np.stack([one[0].numpy() for one in unpack_spans(states, packed)])
    return encode


LIBRARIES: dict[str, tuple[str, Callable[[Contender, str, int], Encode]]] = {
    "bertpass": ("bertpass", _bertpass), "torch": ("sentence-transformers", _torch),
    "onnx": ("onnxruntime", _onnx), "openvino": ("openvino", _openvino), "fastembed": ("fastembed", _fastembed),
    "ctranslate2": ("ctranslate2", _ctranslate2), "llama.cpp": ("llama-cpp-python", _llama),
    "infinity": ("infinity-emb", _infinity), "padded rows": ("transformers", _padded_rows),
    "packed rows": ("gliner", _packed_rows), "our rows": ("bertpass", _our_rows)}


def _max_length(folder: str) -> int:
    """Tokens to which sentence-transformers cuts texts of this folder."""
    for name, key in (("sentence_bert_config.json", "max_seq_length"), ("tokenizer_config.json", "model_max_length")):
        found = json.loads((Path(folder) / name).read_text(encoding="utf-8")).get(key)
        if found:
            return int(found)
    raise ValueError(f"{folder} does not say how long texts may be")


def _tokenizer(folder: str) -> Any:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(Path(folder) / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(_max_length(folder))
    return tokenizer


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


class Server:
    """One contender; a method for each command."""

    def __init__(self) -> None:
        self._encode: Encode | None = None

    def load(self, contender: Contender, folder: str, threads: int) -> dict[str, Any]:
        package, load = LIBRARIES[contender.library]
        start = time.perf_counter()
        try:
            version = importlib.metadata.version(package) if package != "bertpass" else ""
            self._encode = load(contender, folder, threads)
            self._encode([[1, 2, 3]] if contender.library.endswith("rows") else ["the first sentence"], 1)
        except (ImportError, importlib.metadata.PackageNotFoundError) as error:
            raise MissingDependencyError(f"{package} is not there ({error}); install it with `make "
                                         f"{contender.environment or 'peers'}`.") from error
        return {"version": version, "ready_seconds": round(time.perf_counter() - start, 3)}

    def make(self, folder: str, sentences: Sequence[str]) -> None:
        from bertpass.bench.peers import files

        files.make(Path(folder), sentences)

    def encode(self, texts: list[Any], batch: int) -> tuple[float, tuple[int, ...], bytes]:
        if self._encode is None:
            raise RuntimeError("load comes first")
        start = time.perf_counter()
        found = self._encode(texts, batch)
        seconds = time.perf_counter() - start
        quiet.rest()
        vectors = np.ascontiguousarray(found, np.float32)
        return seconds, vectors.shape, vectors.tobytes()


if __name__ == "__main__":
    server = Server()
    # Ctrl-C is for the parent, which ends its children
    child.serve(lambda command, *arguments: getattr(server, command)(*arguments), [signal.SIGINT])
