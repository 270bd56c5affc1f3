"""Who computes vectors of texts, and with which settings. To add one, add its line, and its class in ``child.py``.

Nothing here imports a library of theirs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bertpass.errors import UsageError, unknown

#: its vectors are what the others' are compared with
REFERENCE = "sentence-transformers-torch"
ONNX, ONNX_FUSED, ONNX_INT8 = "onnx/model.onnx", "onnx/model_O3.onnx", "onnx/model_qint8_avx512_vnni.onnx"
OPENVINO, OPENVINO_INT8 = "openvino/openvino_model.xml", "openvino/openvino_model_qint8_quantized.xml"
CT2, GGUF_F16, GGUF_Q8 = "ctranslate2", "model-f16.gguf", "model-q8_0.gguf"


@dataclass(frozen=True)
class Contender:
    """A library with its settings.

    ``library`` is the class of ``child.py``; ``file`` is what it loads of the model's folder, "" for the folder itself;
    ``precision`` is that of the products; ``about`` says the settings for people; ``environment`` is where its packages
    are, of :mod:`bertpass.bench.environments`, "" for this Python.
    """

    name: str
    library: str
    precision: str
    about: str
    file: str = ""
    environment: str = "peers"

    @property
    def ours(self) -> bool:
        return not self.environment


def _ours(precision: str, about: str) -> Contender:
    return Contender(f"native-{precision}", "bertpass", precision, about, environment="")


KNOWN = (
    _ours("float32", "SentenceEncoder, dtype float32"),
    _ours("bfloat16", "SentenceEncoder, dtype bfloat16"),
    _ours("int8", "SentenceEncoder, dtype int8, no calibration"),
    Contender(REFERENCE, "torch", "float32", "the library's default"),
    Contender("sentence-transformers-torch-bfloat16", "torch", "bfloat16", "dtype bfloat16"),
    Contender("sentence-transformers-onnx", "onnx", "float32", "the export as it is", ONNX),
    Contender("sentence-transformers-onnx-O3", "onnx", "float32", "export_optimized_onnx_model, O3: fused attention "
              "and normalisation, approximate GELU", ONNX_FUSED),
    Contender("sentence-transformers-onnx-int8", "onnx", "int8", "export_dynamic_quantized_onnx_model, avx512_vnni",
              ONNX_INT8),
    Contender("sentence-transformers-openvino-float32", "openvino", "float32", "inference precision f32, one stream",
              OPENVINO),
    Contender("sentence-transformers-openvino", "openvino", "bfloat16", "the library's default, one stream: bfloat16 "
              "where the processor has it", OPENVINO),
    Contender("sentence-transformers-openvino-int8", "openvino", "int8", "nncf.quantize for transformers, calibrated "
              "on 300 sentences, one stream", OPENVINO_INT8),
    Contender("fastembed", "fastembed", "float32", "a custom model: the O3 file, mean pooling", ONNX_FUSED),
    Contender("fastembed-int8", "fastembed", "int8", "a custom model: the avx512_vnni file, mean pooling", ONNX_INT8),
    Contender("ctranslate2", "ctranslate2", "float32", "Encoder, sorted by length, batches of 32, mean pooling in "
              "NumPy", CT2),
    Contender("ctranslate2-bfloat16", "ctranslate2", "bfloat16", "compute type bfloat16, else as ctranslate2", CT2),
    Contender("ctranslate2-int8", "ctranslate2", "int8", "compute type int8_float32, else as ctranslate2", CT2),
    Contender("llama.cpp-f16", "llama.cpp", "float16", "llama-cpp-python built for this processor, GGUF in f16, flash "
              "attention by itself", GGUF_F16),
    Contender("llama.cpp-Q8_0", "llama.cpp", "int8", "llama-cpp-python built for this processor, GGUF in Q8_0",
              GGUF_Q8),
    Contender("infinity-torch", "infinity", "float32", "AsyncEmbeddingEngine, engine torch",
              environment="infinity"),
)

#: the same on rows of token ids in place of texts, for models without a tokenizer; vectors are the first tokens' states
PADDED, PACKED, OURS_ROWS = "torch, padded", "torch, packed by GLiNER", "native-float32"
ON_IDS = (
    Contender(PADDED, "padded rows", "float32", "transformers, padded to the longest row"),
    Contender(PACKED, "packed rows", "float32", "gliner.infer_packing: rows one after the other, a mask of blocks"),
    Contender(OURS_ROWS, "our rows", "float32", "rows one after the other, no mask", environment=""),
    Contender("native-bfloat16", "our rows", "bfloat16", "the same", environment=""),
    Contender("native-int8", "our rows", "int8", "the same", environment=""),
)


def chosen(words: Sequence[str]) -> list[Contender]:
    """The contenders that the words name, each the name of a contender or of a library; all for no word.

    Raises
    ------
    UsageError
        A word names nothing.
    """
    found: list[Contender] = []
    for word in words:
        named = [one for one in KNOWN if word in (one.name, one.library)]
        if not named:
            raise UsageError("--contenders: " + unknown("contender", word, [one.name for one in KNOWN]))
        found += named
    return [one for one in KNOWN if one in found or not words]
