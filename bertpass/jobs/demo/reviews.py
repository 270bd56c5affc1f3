"""The demo: the main job on real weights and real text, from fine-tuning to answers."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bertpass import machine
from bertpass.base.files import write_json
from bertpass.engines import Engine, load
from bertpass.jobs.demo import demo_data
from bertpass.jobs.deployment import pass_table
from bertpass.jobs.tasks.kinds import score
from bertpass.jobs.tasks.predict import collect, encode_examples
from bertpass.jobs.training import classify
from bertpass.model.layouts.bundle import Bundle
from bertpass.progress import log
from bertpass.text.data.readers import read_own
from bertpass.text.data.tasks import own_task
from bertpass.text.tokens.batching import Batch

SENTENCES = (
    "A warm, funny and quietly devastating film.",
    "Two hours that I will never get back.",
    "The plot is thin, but the leads carry it with real charm.",
    "It tries hard to be clever and ends up merely loud.",
)
SHAPES = ((1, 128), (8, 128))
MAX_LENGTH = 64
TRAINING_STEPS = 200  # of 32 snippets, two thirds of an epoch: enough for the point, and minutes even on a busy machine


def _forward(engine: Engine, batch: Batch) -> list[np.ndarray]:
    return engine.forward(batch.input_ids, batch.token_types, batch.valid_length)


def run(folder: Path, library: Path, *, rounds: int = 12, training_steps: int = TRAINING_STEPS) -> dict[str, Any]:
    """Fine-tune MiniLM on rated reviews, deploy it through the compiled library, show the table, classify sentences.

    Writes everything below ``folder`` and the figures into ``folder``/demo.json.
    """
    began = time.monotonic()
    print("1. real text: movie-review snippets rated by people (package vaderSentiment, MIT licence)")
    data = demo_data.fetch(folder / "data")
    print(f"   {data.train} to train on, {data.dev} to judge by")
    print("2. fine-tuning all-MiniLM-L6-v2")
    options = classify.ClassifierOptions(
        bert_model="minilm", task_name="reviews", train_file=str(data.folder / "train.tsv"),
        dev_file=str(data.folder / "dev.tsv"), epochs=1, lr=5e-5, max_len=MAX_LENGTH, training_steps=training_steps,
        output_dir=str(folder / "model"))
    trained = classify.run(options)

    print("3. exporting, applying each graph pass with the compiled library, running all of them in turn")
    bundle = Bundle.open(folder / "model" / "bundle")
    checkpoint = bundle.checkpoint()
    variants, engines = pass_table.compare(checkpoint, SHAPES, rounds, library=str(library))
    examples, _ = read_own(data.folder / "dev.tsv", labels=bundle.labels)
    tokenizer = bundle.tokenizer()
    dev = encode_examples(examples, tokenizer, MAX_LENGTH)
    task = own_task("reviews", "classification", tuple(bundle.labels or ()))
    accuracy = {}
    for name, engine in engines.items():
        outputs = collect(partial(_forward, engine), dev, 64, tokenizer.pad_id, f"dev set, {name}")
        accuracy[name] = score(task, {"dev": (outputs, dev)})["accuracy"]
    pass_table.show(variants, f"MiniLM, float32, {machine.threads()} threads, medians of {rounds} interleaved rounds",
                    {"dev accuracy": {name: f"{value:.3f}" for name, value in accuracy.items()}})

    print("4. a few sentences")
    predictions = load(folder / "model" / "bundle").predict(list(SENTENCES))
    for sentence, found in zip(SENTENCES, predictions, strict=True):
        print(f"   {found.label} ({found.score:.2f})  {sentence}")
    result = {"accuracy": trained["metrics"]["accuracy"], "accuracy_by_passes": accuracy,
              "variants": [v.to_dict() for v in variants], "seconds": round(time.monotonic() - began, 1),
              "machine": machine.describe(), "threads": machine.threads()}
    write_json(folder / "demo.json", result)
    worst = max(v.difference for v in variants)
    print(f"dev accuracy {result['accuracy']:.3f}; the passes change an output by {worst:.1e} at most; "
          f"{result['seconds']:.0f} s; figures in {folder / 'demo.json'}")
    log.info("the model is in %s: bertpass predict %s 'your sentence'", folder / "model",
             folder / "model" / "bundle")
    return result
