"""Every command and every bench: its name, where its code and its options are, what it does.

The help of ``bertpass``, the page of flags and the completion of shells are made from these tables.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bertpass.words import program


@dataclass(frozen=True)
class Command:
    """One command; ``main`` and ``options`` are MODULE:NAME under bertpass.commands, ``options`` a dataclass."""

    main: str
    options: str
    what: str
    group: str
    published: str = ""  #: script of the published recipe that is the same command

    def run(self, name: str, words: Sequence[str]) -> int:
        """Run it with these words; returns the exit code."""
        with program(name):
            return int(_named(self.main)(words))

    def options_class(self) -> type:
        """The dataclass of its words and flags."""
        found: type = _named(self.options)
        return found


def _named(place: str):  # type: ignore[no-untyped-def]
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(f"bertpass.{module}"), name)


START, MAKE, FILES, RUN, MEASURE, HERE = (
    "start here", "make a model", "files of a model", "in production", "measure", "this installation")

COMMANDS: Mapping[str, Command] = {
    "embed": Command("commands.start.embed:main", "commands.start.embed:EmbedOptions",
                     "sentence vectors of texts or of a file of texts", START),
    "predict": Command("commands.start.predict:main", "commands.start.predict:PredictOptions",
                       "labels, values, answers or entities of texts", START),
    "info": Command("commands.start.info:main", "commands.start.info:InfoOptions",
                    "what a model is: family, head, labels, length, pooling", START),
    "serve": Command("commands.start.serve:main", "serving.options:ServeOptions", "models over HTTP", START),
    "finetune-classifier": Command("commands.make.finetune:classifier", "jobs.training.classify:ClassifierOptions",
                                   "fine-tune for every task but question answering", MAKE,
                                   "finetune/finetune_classifier.py"),
    "finetune-squad": Command("commands.make.finetune:squad", "jobs.training.squad:SquadOptions",
                              "fine-tune for question answering", MAKE, "finetune/finetune_squad.py"),
    "deploy": Command("commands.make.deploy:main", "jobs.deployment.options:DeployOptions",
                      "export a model with MXNet, apply the graph passes, evaluate and time it", MAKE, "deploy.py"),
    "new-model": Command("commands.make.new_model:main", "commands.make.new_model:NewModelOptions",
                         "a small model of random weights with a vocabulary for your texts", MAKE),
    "convert": Command("commands.files.convert:main", "commands.files.convert:ConvertOptions",
                       "write a model in another layout: Hugging Face, GluonNLP, bundle", FILES),
    "pack": Command("commands.files.pack:main", "commands.files.pack:PackOptions",
                    "write a model as one file that loads at once", FILES),
    "export": Command("commands.files.export:main", "commands.files.export:ExportOptions",
                      "write a model for ONNX Runtime, OpenVINO, PyTorch or TVM", FILES),
    "optimize": Command("commands.files.optimize:main", "commands.files.optimize:OptimizeOptions",
                        "apply MXNet graph passes to an exported model", FILES),
    "tune": Command("commands.files.tune:main", "commands.files.tune:TuneOptions",
                    "search the fastest schedules of the TVM engine on this machine", FILES),
    "batch": Command("commands.production.batch:main", "commands.production.batch:BatchOptions",
                     "embeddings or labels for a Parquet file, also on a Ray cluster", RUN),
    "launch": Command("commands.production.launch:main", "commands.production.launch:LaunchOptions",
                      "run a program as several instances on cores of their own", RUN),
    "load": Command("commands.production.load:main", "commands.production.load:LoadOptions",
                    "load test: send requests to a server and time the answers", RUN),
    "plan": Command("commands.production.plan:main", "commands.production.plan:PlanOptions",
                    "what a million requests cost, from measured results and prices", RUN),
    "bench": Command("commands.bench.which:main", "commands.bench.passes:PassesOptions",
                     "compare engines, precisions, passes, servers (bertpass bench --help lists what)", MEASURE),
    "compare": Command("commands.measure.compare:main", "commands.measure.compare:CompareOptions",
                       "compare two result files of one bench", MEASURE),
    "reproduce": Command("commands.measure.reproduce:main", "commands.measure.reproduce:ReproduceOptions",
                         "published tables and figures next to what this machine measures", MEASURE),
    "env": Command("commands.here.env:main", "commands.here.env:EnvOptions",
                   "what this machine and this installation have, and what is missing", HERE),
    "completion": Command("commands.here.completion:main", "commands.here.completion:CompletionOptions",
                          "completion of commands and flags for bash, zsh or fish", HERE),
    "demo": Command("commands.here.demo:main", "commands.here.demo:DemoOptions",
                    "fine-tune, deploy and use MiniLM on real reviews", HERE),
    "demo-serve": Command("commands.here.demo_serve:main", "commands.here.demo_serve:DemoServeOptions",
                          "make a question-answering model, serve it, ask it over HTTP", HERE),
}

#: other names of commands
ALIASES = {"load-test": "load"}

#: what ``bertpass bench`` (also ``python -m bertpass.bench``) compares
BENCHES: Mapping[str, Command] = {
    "passes": Command("commands.bench.passes:main", "commands.bench.passes:PassesOptions",
                      "every graph pass against plain MXNet; meant where flags alone are given", MEASURE),
    "cpu": Command("commands.bench.cpu:main", "commands.bench.cpu:CpuOptions",
                   "every CPU engine on the same weights", MEASURE),
    "finetuning": Command("commands.bench.finetuning:main", "commands.bench.finetuning:FinetuningOptions",
                          "fine-tuning against a PyTorch control", MEASURE),
    "kernels": Command("commands.bench.kernels:main", "commands.bench.kernels:KernelOptions",
                       "kernels of the CPU engine against references and the machine's ceilings", MEASURE),
    "precision": Command("commands.bench.precision:main", "jobs.low_precision.options:TableOptions",
                         "what low precision costs a fine-tuned model", MEASURE),
    "report": Command("commands.bench.report:main", "commands.bench.report:ReportOptions",
                      "result files as one page", MEASURE),
    "routing": Command("commands.bench.routing:main", "commands.bench.routing:RoutingOptions",
                       "requests sent to instances by their length", MEASURE),
    "scaling": Command("commands.bench.scaling:main", "commands.bench.scaling:ScalingOptions",
                       "cores, threads and instances", MEASURE),
    "serving": Command("commands.bench.serving:main", "commands.bench.serving:ServingOptions",
                       "the server under load, next to other servers", MEASURE),
}
