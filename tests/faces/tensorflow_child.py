"""Runs calls of TensorFlow's operator in a process of its own, which has no MXNet: tensorflow_child.py JOBS FOLDER.

JOBS is JSON: the library, and calls with a name, how ("eager", "function", "device": the GPU's form on the CPU,
"saved": exported and loaded again), attributes and the file of the inputs. What a call gives is FOLDER/NAME.npz; an
error is FOLDER/NAME.txt: its type, then what it says.
"""

import json
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf


def call(operator, how, inputs, attributes, folder):
    def compute(*tensors):
        return operator(*tensors, **attributes)

    def on_device(*tensors):
        with tf.compat.v1.get_default_graph()._kernel_label_map({"BertpassEncoder": "device"}):
            return compute(*tensors)

    if how == "eager":
        return compute(*inputs)
    if how == "device":
        return tf.function(on_device)(*inputs)
    signature = [tf.TensorSpec([None, None], tf.int32)] * 2 + [tf.TensorSpec([None], tf.int32)]
    module = tf.Module()
    module.compute = tf.function(compute, input_signature=signature)
    if how == "saved":
        tf.saved_model.save(module, str(folder / "saved"))
        module = tf.saved_model.load(str(folder / "saved"))
    return module.compute(*inputs)


def main(jobs, folder):
    operator = tf.load_op_library(jobs["library"]).bertpass_encoder
    for job in jobs["calls"]:
        try:
            with np.load(job["inputs"]) as arrays:
                inputs = [tf.constant(arrays[name]) for name in ("ids", "types", "lengths")]
            values = call(operator, job["how"], inputs, job["attributes"], folder)
            np.savez(folder / f"{job['name']}.npz", *(value.numpy() for value in values))
        except (tf.errors.OpError, ValueError) as error:
            (folder / f"{job['name']}.txt").write_text(f"{type(error).__name__}\n{error}")


main(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))
