"""The files of sentence-transformers around an encoder, of every generation from 0.2 to 6.2, in and out.

modules.json lists the modules. The first is the encoder, whose files are in the folder itself or, until version 1, in
``0_Transformer`` or ``0_BERT``. The length stands in a file called after the encoder's class until version 5.3, and
as ``model_max_length`` in tokenizer_config.json after that. Every key is in :mod:`bertpass.known_keys`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bertpass import known_keys
from bertpass.base.files import write_json
from bertpass.errors import ModelError
from bertpass.known_keys.sentence_transformers import LENGTH_FILE, LENGTH_FILES
from bertpass.model.config import POOLINGS as OF_ENGINES
from bertpass.model.config import SPARSE_POOLINGS, EncoderConfig, HeadConfig
from bertpass.model.files import tensors
from bertpass.model.files.folders import HUGGINGFACE_FILE, MODULES_FILE, read_json, read_object
from bertpass.model.record import Checkpoint
from bertpass.model.sentence import ACTIVATIONS, Late, Layer, Sentence

SETTINGS_FILE = "config_sentence_transformers.json"
_ENCODERS = ("Transformer", "BERT", "RoBERTa", "DistilBERT")  # version 0.2 had a class for each
_LAYERS = {"Dense": "dense", "LayerNorm": "norm", "Normalize": "normalize"}
_LATE_DENSE = "pylate.models.Dense.Dense"
_SPARSE = ("Transformer", "MLMTransformer"), "SpladePooling"  # the modules of a sparse encoder
_READ = "Transformer, Pooling, Dense, LayerNorm, Normalize, Dropout and SpladePooling"
_SPARSE_FUNCTIONS = ("relu", "log1p_relu")
# In the order in which several modes' vectors are put one after the other.
_OLD_MODES = {"pooling_mode_cls_token": "cls", "pooling_mode_max_tokens": "max", "pooling_mode_mean_tokens": "mean",
              "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
              "pooling_mode_weightedmean_tokens": "weightedmean", "pooling_mode_lasttoken": "lasttoken"}
_ACTIVATION_PATHS = {"Tanh": "torch.nn.modules.activation.Tanh", "ReLU": "torch.nn.modules.activation.ReLU",
                     "GELU": "torch.nn.modules.activation.GELU", "Sigmoid": "torch.nn.modules.activation.Sigmoid",
                     "Identity": "torch.nn.modules.linear.Identity"}


_ONE_TEXT = {"text": {"method": "forward", "method_output_name": "logits"}}
# Activations of the outputs of a cross-encoder, by our names.
_OUTPUTS = {"sigmoid": "torch.nn.modules.activation.Sigmoid", "identity": "torch.nn.modules.linear.Identity",
            "softmax": "torch.nn.modules.activation.Softmax"}


@dataclass(frozen=True)
class Layout:
    """What modules.json and the settings beside it say, before the encoder is read.

    Attributes
    ----------
    encoder : folder of the encoder's files
    modules : class and folder of each module after it, without those that do nothing
    settings, length : content of :data:`SETTINGS_FILE` and of the length's file, empty where there is none
    notes : sentences on what is not known or was changed; the functions below add to them
    is_late : whether every token has a vector (PyLate; without modules the library of ColBERT's authors)
    """

    encoder: Path
    modules: Sequence[tuple[str, Path]] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    length: Mapping[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    is_late: bool = False

    @property
    def is_cross_encoder(self) -> bool:
        """Whether it gives scores of pairs."""
        return bool(self.settings.get("model_type") == "CrossEncoder")

    @property
    def is_sparse(self) -> bool:
        """Whether it gives weights of words."""
        return [kind for kind, _ in self.modules] == [_SPARSE[1]]


def layout(folder: Path) -> Layout:
    """The layout of a model's folder; a plain one has its encoder in itself and no modules.

    Raises
    ------
    ModelError
        A file is damaged, lists modules that cannot be read, or has a key that is refused.
    """
    if not (folder / MODULES_FILE).is_file():
        return Layout(folder)
    path = folder / MODULES_FILE
    notes: list[str] = []
    listed = read_json(path, "the list of sentence-transformers modules")
    if not isinstance(listed, list) or not all(isinstance(module, dict) for module in listed):
        raise ModelError(f"{path} is not a list of modules.")
    modules, types = [], []
    for module in listed:
        notes += known_keys.look(MODULES_FILE, module, str(path))
        place = folder / str(module.get("path") or "")
        kind = str(module.get("type", ""))
        if not kind.startswith("sentence_transformers.") and kind != _LATE_DENSE:
            raise ModelError(f"{path} lists {kind or 'a module without a type'}, which is code of the model's own; "
                             f"only {_READ} of sentence-transformers can be read.")
        if place.resolve() != folder.resolve() and folder.resolve() not in place.resolve().parents:
            raise ModelError(f"{path} names the folder {module.get('path')}, which is not inside {folder}.")
        modules.append((kind.rpartition(".")[2], place))
        types.append(kind)
    kinds = [kind for kind, _ in modules]
    sparse = kinds[:1] and kinds[0] in _SPARSE[0] and kinds[1:] == [_SPARSE[1]]
    settings = _object(folder / SETTINGS_FILE, "settings of sentence-transformers", SETTINGS_FILE, notes)
    late = settings.get("model_type") == "ColBERT" or _LATE_DENSE in types
    if late and (kinds[:1] != ["Transformer"] or set(kinds[1:]) != {"Dense"}):
        raise ModelError(f"{path} lists {', '.join(kinds)} of a late-interaction model (PyLate); only a Transformer "
                         "with Dense after it can be read there.")
    fits = sparse or late or (kinds[:1] and kinds[0] in _ENCODERS and
                      all(kind in (*_LAYERS, "Pooling", "Dropout") for kind in kinds[1:]))
    useful = [(kind, place) for kind, place in modules[1:] if kind != "Dropout"]
    pools = [kind for kind, _ in useful].count("Pooling")
    if not fits or (useful and not sparse and not late and (useful[0][0] != "Pooling" or pools > 1)):
        raise ModelError(f"{path} lists {', '.join(kinds) or 'nothing'}; only {_READ} can be read, with the pooling "
                         "right after the encoder. Use the model in sentence-transformers, or export it from there.")
    encoder = modules[0][1]
    length: dict[str, Any] = {}
    for name in LENGTH_FILES:
        length = length or _object(encoder / name, "the sentence length", LENGTH_FILE, notes)
    made = Layout(encoder, useful, settings, length, notes, late)
    if made.is_cross_encoder and useful:
        raise ModelError(f"{path} lists {', '.join(kinds)} of a cross-encoder; only Transformer can be read there.")
    task = length.get("transformer_task", "fill-mask" if kinds[0] == "MLMTransformer" else None)
    if made.is_sparse != (task == "fill-mask") or (settings.get("model_type") == "SparseEncoder" and not sparse):
        raise ModelError(f"{path} lists {', '.join(kinds)} with transformer_task {task!r}, and {SETTINGS_FILE} says "
                         f"model_type {settings.get('model_type')!r}; a SparseEncoder can be read where it has a "
                         "Transformer of the task 'fill-mask' and a SpladePooling.")
    return made


def _object(path: Path, what: str, table: str, notes: list[str]) -> dict[str, Any]:
    if not path.is_file():
        return {}
    content = read_object(path, what)
    notes += known_keys.look(table, content, str(path))
    return content


def head_and_sentence(found: Layout, config: EncoderConfig, allow_pickle: bool = False) -> tuple[HeadConfig, Sentence]:
    """The head that an engine computes for a layout, and what is done around it; arrays are float32.

    Raises
    ------
    ModelError
        A pooling or a layer is not one that can be computed, or does not fit the encoder.
    """
    prompts, default = _prompts(found.settings, is_cross_encoder=found.is_cross_encoder)
    width = found.settings.get("truncate_dim")
    if width is not None and (isinstance(width, bool) or not isinstance(width, int) or width < 1):
        raise ModelError(f"{SETTINGS_FILE} says truncate_dim {width!r}; it has to be a whole number of at least 1.")
    around = Sentence(prompts, default, truncate_dim=width)
    if not found.modules:
        return HeadConfig("none"), around
    if found.is_late:
        return HeadConfig("none"), dataclasses.replace(
            around, late=Late.from_settings(found.settings),
            layers=_layers(found.modules, config.units, allow_pickle, found.notes))
    (_, place), *after = found.modules
    if found.is_sparse:
        return _splade(place / HUGGINGFACE_FILE, config, found.notes), around
    modes, include_prompt = _pooling(place / HUGGINGFACE_FILE, config, found.notes)
    layers = _layers(after, config.units * len(modes), allow_pickle, found.notes)
    if len(modes) == 1 and modes[0] in OF_ENGINES and include_prompt:
        normalize = bool(layers) and layers[0].kind == "normalize"
        head = HeadConfig("embedding", pooling=modes[0], normalize=normalize)
        return head, Sentence(prompts, default, layers=layers[normalize:], truncate_dim=width)
    return HeadConfig("none"), Sentence(prompts, default, modes, include_prompt, layers, width)


def max_length(found: Layout, config: EncoderConfig) -> int | None:
    """Tokens to which the library cuts texts, None where nothing says; more than the positions are as many as those.

    ModelError where it is no length.
    """
    said = _length(found)
    if said is None:
        return None
    path, key, value = said
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= 3:
        raise ModelError(f"{path} says {key} {value!r}, which is no length; it has to be at least 3 tokens.")
    if key == "max_seq_length" and value > config.max_length:
        found.notes.append(f"{path} says {key} {value}, but the encoder has {config.max_length} positions: texts are "
                           "cut there.")
    return int(min(value, config.max_length))


def activation(path: Any) -> str:
    """Our name of the activation of a cross-encoder's outputs; ModelError for one that is not known."""
    name = next((name for name in _OUTPUTS if str(path).rpartition(".")[2].lower() == name), None)
    if name is None or not str(path).startswith("torch."):
        raise ModelError(f"the folder asks for the activation '{path}' of its outputs; only "
                         f"{', '.join(_OUTPUTS.values())} can be read: write another into activation_fn.")
    return name


def activation_path(head: HeadConfig) -> str:
    """The activation of a cross-encoder's outputs as the library names it."""
    return _OUTPUTS[head.scores]


def _length(found: Layout) -> tuple[Path, str, Any] | None:
    """Where a length stands, its key and its value."""
    if found.length.get("max_seq_length") is not None:
        path = next(path for path in map(found.encoder.joinpath, LENGTH_FILES) if path.is_file())
        return path, "max_seq_length", found.length["max_seq_length"]
    path = found.encoder / "tokenizer_config.json"
    content = read_object(path, "the tokenizer's configuration") if path.is_file() else {}
    return next(((path, key, content[key]) for key in ("model_max_length", "max_len")  # the second is the older name
                 if content.get(key) is not None), None)


def _prompts(settings: Mapping[str, Any], is_cross_encoder: bool) -> tuple[dict[str, str], str | None]:
    given, default = settings.get("prompts") or {}, settings.get("default_prompt_name")
    if not isinstance(given, dict) or not all(isinstance(text, (str, type(None))) for text in given.values()):
        raise ModelError(f"{SETTINGS_FILE}: prompts has to be an object of texts.")
    prompts = {name: text or "" for name, text in given.items()}
    known = prompts if is_cross_encoder else {"query": "", "document": "", **prompts}  # the library's own two
    if default is not None and default not in known:
        raise ModelError(f"{SETTINGS_FILE} says default_prompt_name {default!r}, which is not one of its prompts "
                         f"({', '.join(known) or 'none'}).")
    return (known if settings else prompts), default


def _pooling(path: Path, config: EncoderConfig, notes: list[str]) -> tuple[tuple[str, ...], bool]:
    """The modes in the order of their vectors, and whether a prompt is pooled."""
    content = read_object(path, "the pooling's configuration")
    notes += known_keys.look("Pooling", content, str(path))
    given = content.get("pooling_mode")
    if given is None:
        given = [mode for key, mode in _OLD_MODES.items() if content.get(key)] or "mean"
    modes = tuple([given] if isinstance(given, str) else given)
    width = content.get("embedding_dimension", content.get("word_embedding_dimension", config.units))
    if width != config.units:
        raise ModelError(f"{path} pools {width} units and the encoder has {config.units}.")
    known = tuple(_OLD_MODES.values())
    if not modes or not all(mode in known for mode in modes):
        raise ModelError(f"{path} says pooling_mode {given!r}; only {', '.join(known)} can be read.")
    return modes, content.get("include_prompt", True) is not False


def _layers(modules: Sequence[tuple[str, Path]], units: int, allow_pickle: bool, notes: list[str]) -> tuple[Layer, ...]:
    layers: list[Layer] = []
    for kind, folder in modules:
        layers.append(_layer(kind, folder, units, allow_pickle, notes))
        units = len(layers[-1].arrays["weight"]) if layers[-1].kind == "dense" else units
    return tuple(layers)


def _splade(path: Path, config: EncoderConfig, notes: list[str]) -> HeadConfig:
    content = read_object(path, "the pooling's configuration")
    notes += known_keys.look(_SPARSE[1], content, str(path))
    strategy, function = content.get("pooling_strategy", "max"), content.get("activation_function", "relu")
    if strategy not in SPARSE_POOLINGS or function not in _SPARSE_FUNCTIONS:
        raise ModelError(f"{path} says pooling_strategy {strategy!r} and activation_function {function!r}; only "
                         f"{', '.join(SPARSE_POOLINGS)} and {', '.join(_SPARSE_FUNCTIONS)} can be read.")
    width = content.get("embedding_dimension", content.get("word_embedding_dimension"))
    if width not in (None, config.vocab_size):
        raise ModelError(f"{path} gives {width} words and the encoder has {config.vocab_size}.")
    return HeadConfig("sparse", pooling=strategy, activation=function)


def _layer(kind: str, folder: Path, units: int, allow_pickle: bool, notes: list[str]) -> Layer:
    path = folder / HUGGINGFACE_FILE
    if kind == "Normalize":
        _object(path, "the module's configuration", kind, notes)  # has been there since version 6
        return Layer("normalize")
    content = read_object(path, "the module's configuration")
    notes += known_keys.look(kind, content, str(path))
    part = "linear" if kind == "Dense" else "norm"
    found = {name: np.array(array, np.float32) for name, array in tensors.read(folder, allow_pickle).items()}
    weight, bias = found.pop(f"{part}.weight", None), found.pop(f"{part}.bias", None)
    if weight is None or found or weight.ndim != (2 if kind == "Dense" else 1) or weight.shape[-1] != units or (
            bias is not None and bias.shape != weight.shape[:1]):
        raise ModelError(f"{folder} does not hold the weights of a {kind} module of {units} units.")
    arrays = {"weight": weight} | ({} if bias is None else {"bias": bias})
    if kind == "LayerNorm":
        return Layer("norm", arrays=arrays)
    said = str(content.get("activation_function", _ACTIVATION_PATHS["Tanh"]))
    if said not in _ACTIVATION_PATHS.values():
        raise ModelError(f"{path} says activation_function '{said}'; only {', '.join(ACTIVATIONS)} of torch.nn can be "
                         "read.")
    return Layer("dense", said.rpartition(".")[2], arrays)


def write(folder: Path, checkpoint: Checkpoint) -> None:
    """Write modules.json, the modules and the settings of a model that has any, in the oldest form that says it all.

    Models of sentence vectors are read by every version since 2, sparse ones by those since 5, cross-encoders with
    prompts by those since 5.4.
    """
    head, around, settings = checkpoint.head, checkpoint.sentence, dict(checkpoint.carried.get(SETTINGS_FILE, {}))
    settings.pop("truncate_dim", None)
    if around.truncate_dim is not None:
        settings["truncate_dim"] = around.truncate_dim
    if settings or around.prompts:
        settings |= {"prompts": dict(around.prompts), "default_prompt_name": around.default_prompt}
    carried, package = checkpoint.carried.get(LENGTH_FILE, {}), "models"
    if head.has_classifier and settings:
        modules = [("Transformer", "")]
        settings |= {"model_type": "CrossEncoder", "activation_fn": activation_path(head)}
        length = {"transformer_task": "sequence-classification", "modality_config": _ONE_TEXT,
                  "module_output_name": "scores", **carried}
    elif head.kind == "sparse":
        modules, package = [("MLMTransformer", ""), (_SPARSE[1], f"1_{_SPARSE[1]}")], "sparse_encoder.models"
        settings |= {"model_type": "SparseEncoder", "prompts": dict(around.prompts),
                     "default_prompt_name": around.default_prompt}
        length = {"do_lower_case": bool(carried.get("do_lower_case")), "max_seq_length": checkpoint.max_length}
        (folder / modules[1][1]).mkdir()
        write_json(folder / modules[1][1] / HUGGINGFACE_FILE, {
            "pooling_strategy": head.pooling, "activation_function": head.activation or "relu",
            "word_embedding_dimension": checkpoint.config.vocab_size})
    elif around.late is not None:
        modules = [("Transformer", ""), *((_LATE_DENSE, f"{at}_Dense") for at in range(1, len(around.layers) + 1))]
        settings |= {"model_type": "ColBERT", "similarity_fn_name": "MaxSim", **around.late.to_settings()}
        length = {"do_lower_case": False, **carried, "max_seq_length": checkpoint.max_length}
        for layer, (_, place) in zip(around.layers, modules[1:], strict=True):
            _write_layer(folder / place, layer)
    elif head.kind == "embedding" or (head.kind == "none" and around != Sentence()):
        modules = _write_modules(folder, checkpoint)
        length = {"do_lower_case": False, **carried, "max_seq_length": checkpoint.max_length}
    else:
        return
    write_json(folder / MODULES_FILE, [
        {"idx": at, "name": str(at), "path": place, "type": kind if "." in kind else
         f"sentence_transformers.{package}.{kind}"} for at, (kind, place) in enumerate(modules)])
    write_json(folder / LENGTH_FILES[0], length)
    if settings:
        write_json(folder / SETTINGS_FILE, settings)


def _write_modules(folder: Path, checkpoint: Checkpoint) -> list[tuple[str, str]]:
    """Write the modules after the encoder; class and folder of every module."""
    head, around = checkpoint.head, checkpoint.sentence
    modes = around.pooling or (head.pooling if head.kind == "embedding" else "mean",)
    layers = [*([Layer("normalize")] if head.kind == "embedding" and head.normalize else []), *around.layers]
    names = {ours: theirs for theirs, ours in _LAYERS.items()}
    kinds = ["Transformer", "Pooling", *(names[layer.kind] for layer in layers)]
    modules = [(kind, f"{at}_{kind}" if at else "") for at, kind in enumerate(kinds)]
    pooling: dict[str, Any] = {"word_embedding_dimension": checkpoint.config.units,
                               **{key: mode in modes for key, mode in _OLD_MODES.items()}}
    if list(modes) != [mode for mode in _OLD_MODES.values() if mode in modes]:  # an order that only the new form has
        pooling = {"embedding_dimension": checkpoint.config.units, "pooling_mode": list(modes)}
    (folder / modules[1][1]).mkdir()
    write_json(folder / modules[1][1] / HUGGINGFACE_FILE, {**pooling, "include_prompt": around.include_prompt})
    for layer, (_, place) in zip(layers, modules[2:], strict=True):
        if layer.kind != "normalize":
            _write_layer(folder / place, layer)
    return modules


def _write_layer(folder: Path, layer: Layer) -> None:
    folder.mkdir()
    weight, part = layer.arrays["weight"], "linear" if layer.kind == "dense" else "norm"
    content: dict[str, Any] = {"dimension": len(weight)}
    if layer.kind == "dense":
        content = {"in_features": weight.shape[1], "out_features": weight.shape[0], "bias": "bias" in layer.arrays,
                   "activation_function": _ACTIVATION_PATHS[layer.activation]}
    write_json(folder / HUGGINGFACE_FILE, content)
    tensors.write(folder / tensors.SAFETENSORS, {f"{part}.{name}": array for name, array in layer.arrays.items()})
