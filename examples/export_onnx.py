"""A model as ONNX, and the same vectors from ONNX Runtime: python examples/export_onnx.py [FOLDER]

Needs pip install '.[onnxruntime]'.
"""

import sys
from pathlib import Path

import numpy as np
import onnxruntime

import bertpass
from bertpass.commands.main import main

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "exported")
folder.mkdir(parents=True, exist_ok=True)
code = main(["export", "minilm", str(folder / "minilm.onnx"), "--overwrite"])
if code:
    sys.exit(code)

model = bertpass.load("minilm", dtype="float32")
session = onnxruntime.InferenceSession(str(folder / "minilm.onnx"))
row = model.tokenizer.encode(["A man is eating food."])[0]
given = {"input_ids": [row.ids], "token_types": [row.token_types], "valid_length": [len(row.ids)]}
found = session.run(None, {each.name: np.array(given[each.name], np.int32) for each in session.get_inputs()})
own = model.forward(np.array([row.ids], np.int32))
print("outputs:", ", ".join(f"{each.name} {each.shape}" for each in session.get_outputs()))
print("largest difference from our engine:", max(float(np.abs(a - b).max()) for a, b in zip(found, own, strict=True)))
