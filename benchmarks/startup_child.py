"""One start: import, load, first call. Run by startup.py in a fresh process; imports the standard library alone.

Arguments: the variant and a path. Prints one line of JSON: seconds (import, load, first), MiB (rss, pss, peak) after
the first call, and the vector of the sentence.
"""

import json
import sys
import time

TEXT = "The train to the coast leaves every morning at half past seven."


def native(path, dtype=None):
    import bertpass
    import bertpass.engines.native

    yield
    model = bertpass.load(path, engine="native", **({"dtype": dtype} if dtype else {}))
    yield
    yield model.encode(TEXT)


def sentence_transformers(path):
    from sentence_transformers import SentenceTransformer

    yield
    model = SentenceTransformer(path, device="cpu")
    yield
    yield model.encode(TEXT)


def transformers(path):
    import torch
    from transformers import AutoModel, AutoTokenizer

    yield
    tokenizer, model = AutoTokenizer.from_pretrained(path), AutoModel.from_pretrained(path).eval()
    yield
    with torch.inference_mode():
        row = tokenizer([TEXT], return_tensors="pt")
        vector = model(**row).last_hidden_state[0].mean(0)
        yield (vector / vector.norm()).numpy()


def onnxruntime(path):
    import os

    import numpy as np
    import onnxruntime as ort
    import tokenizers

    yield
    options = ort.SessionOptions()
    options.intra_op_num_threads = int(os.environ["OMP_NUM_THREADS"])
    session = ort.InferenceSession(os.path.join(path, "model.onnx"), options, providers=["CPUExecutionProvider"])
    tokenizer = tokenizers.Tokenizer.from_file(os.path.join(path, "tokenizer.json"))
    tokenizer.no_padding()
    yield
    row = tokenizer.encode(TEXT)
    ids = np.array([row.ids], np.int32)
    feed = {"input_ids": ids, "token_types": np.zeros_like(ids), "valid_length": np.array([len(row.ids)], np.int32)}
    names = {value.name for value in session.get_inputs()}
    yield session.run(None, {name: value for name, value in feed.items() if name in names})[0][0]


VARIANTS = {
    "native float32": lambda path: native(path, "float32"), "native bfloat16": lambda path: native(path, "bfloat16"),
    "native auto": lambda path: native(path, "auto"), "native packed": native,
    "sentence-transformers": sentence_transformers, "transformers": transformers, "onnxruntime": onnxruntime,
}


def memory():
    """MiB: resident, its share of what is used by several processes, and the most that was ever resident."""
    with open("/proc/self/smaps_rollup", encoding="ascii") as file:
        sizes = {line.split()[0].rstrip(":"): int(line.split()[1]) for line in list(file)[1:]}
    with open("/proc/self/status", encoding="ascii") as file:
        peak = next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))
    return {"rss": sizes["Rss"] / 1024, "pss": sizes["Pss"] / 1024, "peak": peak / 1024}


def main():
    start = time.perf_counter()
    steps, seconds, vector = VARIANTS[sys.argv[1]](sys.argv[2]), {}, None
    for name in ("import", "load", "first"):
        vector = next(steps)
        seconds[name] = time.perf_counter() - start
        start = time.perf_counter()
    print(json.dumps({"seconds": seconds, "mib": memory(), "vector": [float(x) for x in vector]}))


if __name__ == "__main__":
    main()
