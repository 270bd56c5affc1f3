"""Tensors of a Hugging Face folder as NumPy arrays: safetensors, whole or in shards, or on request PyTorch pickles."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from bertpass.errors import MissingDependencyError, ModelError
from bertpass.file_kinds import looks_like
from bertpass.model.files import safetensors_file
from bertpass.model.files.folders import read_json, replacing_file

SAFETENSORS = "model.safetensors"
PICKLE = "pytorch_model.bin"


def read(folder: Path, allow_pickle: bool = False) -> dict[str, np.ndarray]:
    """Every tensor of the folder by its name; bfloat16 becomes float32, which holds the same values.

    The arrays of safetensors files are read-only views of the mapped files.

    Raises
    ------
    ModelError
        There are no weights, they are damaged, or they are pickles and ``allow_pickle`` is off.
    MissingDependencyError
        Pickles are allowed and PyTorch is not installed.
    """
    for name, reader in ((SAFETENSORS, _safetensors), (PICKLE, _pickle)):
        files = _files(folder, name)
        if not files:
            continue
        if reader is _pickle and not allow_pickle:
            raise ModelError(f"{folder} holds its weights as a Python pickle ({files[0].name}) only; convert it to "
                             f"{SAFETENSORS}, or give --allow_pickle (in Python allow_pickle=True) if you trust "
                             "where it comes from.")
        tensors: dict[str, np.ndarray] = {}
        for file in files:
            tensors.update(reader(file))
        return tensors
    pickles = "" if allow_pickle else f" (--allow_pickle where they are {PICKLE} alone)"
    raise ModelError(f"{folder} has no {SAFETENSORS}; give a folder with the weights of a Hugging Face model{pickles}.")


#: what training tools put in front of every name: data parallelism, torch.compile, modules around the encoder
_WRAPPERS = ("module.", "_orig_mod.", "model.", "auto_model.", "encoder_model.", "0.")


def without_wrapper(tensors: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], str]:
    """The tensors without what a training tool put in front of all their names, and what that was."""
    wrapper = ""
    while tensors:
        shared = next((each for each in _WRAPPERS if all(name.startswith(each) for name in tensors)), None)
        if shared is None:
            break
        tensors, wrapper = {name.removeprefix(shared): tensor for name, tensor in tensors.items()}, wrapper + shared
    return tensors, wrapper


def write(path: Path, tensors: Mapping[str, np.ndarray]) -> None:
    """Write one safetensors file with the metadata that transformers asks for; it appears whole or not at all."""
    from safetensors.numpy import save_file  # here, because reading does without

    contiguous = {name: np.require(array, requirements="C") for name, array in tensors.items()}
    with replacing_file(path, "the safetensors file") as file:
        save_file(contiguous, file.name, {"format": "pt"})


def _files(folder: Path, name: str) -> list[Path]:
    """The file ``name``, or the shards that its index lists, or nothing."""
    if (folder / name).is_file():
        return [folder / name]
    index = folder / f"{name}.index.json"
    if not index.is_file():
        return []
    content = read_json(index, "the index of the weights")
    places = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(places, dict) or not all(isinstance(place, str) for place in places.values()):
        raise ModelError(f"{index} has no weight_map from tensor names to file names.")
    files = [folder / place for place in sorted(set(places.values()))]
    for file in files:
        if file.parent != folder or not file.is_file():
            raise ModelError(f"{index} names the file '{file.name}', which is not in {folder}.")
    return files


def _safetensors(path: Path) -> dict[str, np.ndarray]:
    return safetensors_file.read(path)[0]


def _pickle(path: Path) -> dict[str, np.ndarray]:
    try:
        import torch
    except ImportError as error:
        raise MissingDependencyError(f"{path} needs PyTorch to be read; install it with: pip install "
                                     "'.[reference]'.") from error
    try:
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises what the pickle makes it raise
        seen = looks_like(path)
        reason = str(error).splitlines()[0] if "zip" in seen or "pickle" in seen or not seen else seen
        raise ModelError(f"{path} cannot be read as PyTorch weights: {reason.rstrip('.')}.") from error
    if not isinstance(tensors, dict) or not all(isinstance(tensor, torch.Tensor) for tensor in tensors.values()):
        raise ModelError(f"{path} is not a dictionary of tensors.")
    return {name: (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
            for name, tensor in tensors.items()}
