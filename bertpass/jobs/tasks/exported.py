"""Pairs of symbol and parameters: where one is, and one of GluonNLP's scripts, which has no bundle beside it."""

from __future__ import annotations

import dataclasses
import json
import re
from dataclasses import dataclass
from pathlib import Path

from bertpass.errors import ModelError, UsageError
from bertpass.jobs.tasks.described import BUNDLE, bundle_of
from bertpass.model import parameters
from bertpass.model.config import ALIASES, NAMED, EncoderConfig, HeadConfig
from bertpass.model.files import params_file
from bertpass.model.layouts.bundle import Bundle
from bertpass.progress import log
from bertpass.text.tokens.tokenizer import Tokenizer

_QUANTISED = re.compile(r"model_bert_(.+)_quantized_\w+")  # what upstream's --only_calibration writes in OUTPUT_DIR
_TASKS = {"squad": "QA"}


def is_pair(prefix: Path) -> bool:
    """Whether both files of a prefix are there."""
    return all(Path(f"{prefix}-{name}").is_file() for name in ("symbol.json", "0000.params"))


def find_pair(prefix: Path) -> Path:
    """The prefix of a pair that a flag names.

    Scripts of GluonNLP write OUTPUT_DIR/TASK and OUTPUT_DIR/model_bert_TASK_quantized_MODE, ours OUTPUT_DIR/TASK/TASK:
    where only that is there, it is meant, and the log says so. ModelError where there is none.
    """
    if is_pair(prefix):
        return prefix
    quantised = _QUANTISED.fullmatch(prefix.name)
    name = _TASKS.get(quantised[1], quantised[1]) if quantised else prefix.name
    folder = prefix.parent / name if quantised else prefix
    if is_pair(folder / name):
        log.info("%s is %s here", prefix, folder / name)
        return folder / name
    missing = next(f"{prefix}-{end}" for end in ("symbol.json", "0000.params") if not Path(f"{prefix}-{end}").is_file())
    near = [place for place in (prefix, prefix.parent) if place.is_dir()]
    pairs = sorted(str(graph).removesuffix("-symbol.json") for place in near for inner in (place, *place.iterdir())
                   if inner.is_dir() and inner.name != BUNDLE for graph in inner.glob("*-symbol.json"))
    raise ModelError(f"there is no {missing}; "
                     + (f"did you mean {pairs[0]}?" if pairs else
                        "export the model first (bertpass deploy without --only_infer)."))


@dataclass(frozen=True)
class ExportedPair:
    """An exported pair without a bundle: what its files say of it, and what the flags say of the rest."""

    prefix: Path
    config: EncoderConfig
    head: HeadConfig
    labels: list[str] | None
    inputs: tuple[str, ...]
    vocabulary: Tokenizer | None = None
    task: str | None = None

    @property
    def pairs(self) -> bool | None:
        """Not known: nothing says what kind of rows it was trained on."""
        return None

    @property
    def source(self) -> str:
        return str(self.prefix)

    @property
    def symbol_path(self) -> Path:
        return Path(f"{self.prefix}-symbol.json")

    def tokenizer(self) -> Tokenizer:
        """ModelError where the flags name none."""
        if self.vocabulary is None:
            raise ModelError(f"{self.prefix} has no bundle beside it, which would say its vocabulary: name one with "
                             "--vocab.")
        return self.vocabulary

    @classmethod
    def open(cls, prefix: Path, head: HeadConfig, labels: list[str] | None, *, bert_model: str | None = None,
             vocabulary: Tokenizer | None = None, task: str | None = None) -> ExportedPair:
        """Read a pair as GluonNLP exports one; ModelError where it is none."""
        inputs, shapes = _parts(prefix)
        positions = [shape[0] for name, shape in shapes.items() if name.endswith("position_weight")]
        config = NAMED[ALIASES.get(bert_model or "", bert_model or "")] if bert_model in {**NAMED, **ALIASES} else \
            NAMED["bert_12_768_12" if len(inputs) == 3 else "roberta_12_768_12"]
        config = dataclasses.replace(config, max_length=positions[0] if positions else config.max_length)
        if vocabulary is not None:
            words = [shape[0] for name, shape in shapes.items() if name.endswith("word_embed_embedding0_weight")]
            if words and vocabulary.vocab_size > words[0]:
                raise UsageError(f"the vocabulary has {vocabulary.vocab_size} tokens and {prefix} has {words[0]}: name "
                                 "its own with --vocab.")
        return cls(prefix, config, head, labels, inputs, vocabulary, task)


def bundle_beside(prefix: Path) -> Bundle | None:
    """The bundle of a pair; None where none is beside it, or one of a model with another head."""
    bundle = bundle_of(f"{prefix}-symbol.json")
    if bundle is None:
        return None
    arrays = params_file.read(f"{prefix}-0000.params", mmap=True)
    shapes = {name.removeprefix("arg:"): array.shape for name, array in arrays.items()}
    for name, shape in parameters.head_shapes(bundle.config, bundle.head).items():
        layer = name.rpartition(".")[0]  # MXNet's quantised pairs have other endings
        if shapes.get(name, shape) != shape or not any(other.startswith(layer) for other in shapes):
            log.info("%s is of another model than %s", bundle.path, prefix)
            return None
    return bundle


def inputs_of(prefix: Path) -> tuple[str, ...]:
    """Names of a pair's inputs in the order ids, token types (BERT alone), valid length."""
    bundle = bundle_beside(prefix)
    return bundle.inputs if bundle is not None else _parts(prefix)[0]


def _parts(prefix: Path) -> tuple[tuple[str, ...], dict[str, tuple[int, ...]]]:
    """The names of a pair's inputs and the shapes of its parameters."""
    symbol = Path(f"{prefix}-symbol.json")
    arrays = params_file.read(f"{prefix}-0000.params", mmap=True)
    shapes = {name.removeprefix("arg:").removeprefix("aux:"): array.shape for name, array in arrays.items()}
    try:
        graph = json.loads(symbol.read_text(encoding="utf-8"))
        names = [node["name"] for node in graph["nodes"] if node["op"] == "null"]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ModelError(f"{symbol} is not an exported graph ({error}); export the model again.") from error
    inputs = tuple(sorted(name for name in names if name not in shapes))
    missing = [name for name in inputs if name not in ("data0", "data1", "data2")]
    if missing and "data0" in inputs:
        raise ModelError(f"{prefix}-0000.params lacks {', '.join(missing[:3])}: symbol and params are not of one "
                         "export.")
    if inputs not in (("data0", "data1"), ("data0", "data1", "data2")):
        raise ModelError(f"{symbol} takes {', '.join(inputs) or 'no inputs'}: a graph as GluonNLP's scripts export it "
                         "takes data0, data1 and data2.")
    return inputs, shapes
