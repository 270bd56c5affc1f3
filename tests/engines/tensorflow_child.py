"""Runs the TensorFlow engine in a Python that has it: tensorflow_child.py JOBS OUTPUT, both pickles.

JOBS is a list of (checkpoint, batch, options); OUTPUT becomes a list of their outputs, or the sentence of an error.
"""

import pickle
import sys
from pathlib import Path

from bertpass.engines.frameworks import tensorflow_engine
from bertpass.errors import BertpassError


def outcome(checkpoint, batch, options):
    try:
        engine = tensorflow_engine.from_checkpoint(checkpoint, **options)
    except BertpassError as error:
        return f"{type(error).__name__}: {error}"
    found = engine.forward(*batch), engine.describe()
    engine.close()
    return found


jobs = pickle.loads(Path(sys.argv[1]).read_bytes())
Path(sys.argv[2]).write_bytes(pickle.dumps([outcome(*job) for job in jobs]))
