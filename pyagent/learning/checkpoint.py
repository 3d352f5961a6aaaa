"""Nested Python values with tensors in one safetensors file, written atomically and read without pickle."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pyagent.files import safetensors_torch, write_atomically

_FORMAT = "pyagent checkpoint 1"
_TENSOR, _ARRAY, _TUPLE, _DICT, _FLOAT = "$tensor", "$array", "$tuple", "$dict", "$float"


def save_checkpoint(path: str | Path, tree: dict[str, Any]) -> None:
    """Write `tree` to one safetensors file: tensors as tensors, all else as JSON in the file's header.

    A value is a tensor, a numpy array, a number, a string, a bool, None, or a dict, list or tuple of values; so a
    `state_dict` of a module or an optimiser, `torch.Generator.get_state()` and `numpy`'s `bit_generator.state` go in
    as they are. The file is replaced as a whole, so a crash leaves the old checkpoint or the new one.

    Raises:
        TypeError: a value of another type; its place is named, and nothing is written.
    """
    safetensors = safetensors_torch()
    tensors: dict[str, torch.Tensor] = {}
    encoded = json.dumps(_encode(tree, "", tensors), allow_nan=False)
    write_atomically(path, safetensors.save(tensors, metadata={"format": _FORMAT, "tree": encoded}))


def load_checkpoint(path: str | Path) -> dict[str, Any]:
    """The tree that `save_checkpoint` wrote, its tensors on the CPU.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not a checkpoint.
    """
    safetensors_torch()
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise FileNotFoundError(f"no checkpoint at {path}")
    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a dict)
    except SafetensorError as error:
        raise ValueError(f"{path} is not a checkpoint: {error}") from error
    if metadata.get("format") != _FORMAT:
        raise ValueError(f"{path} is not a checkpoint: want format {_FORMAT!r}, got {metadata.get('format')!r}")
    return _decode(json.loads(metadata["tree"]), tensors)


def _encode(value: Any, place: str, tensors: dict[str, torch.Tensor]) -> Any:
    if isinstance(value, torch.Tensor):
        return {_TENSOR: _keep(value, place, tensors)}
    if isinstance(value, np.ndarray):
        return {_ARRAY: _keep(_as_tensor(value, place), place, tensors)}
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else {_FLOAT: repr(float(value))}
    if isinstance(value, (list, tuple)):
        items = [_encode(item, f"{place}.{index}".lstrip("."), tensors) for index, item in enumerate(value)]
        return items if isinstance(value, list) else {_TUPLE: items}
    if isinstance(value, dict):
        pairs = [(key, _encode(item, f"{place}.{key}".lstrip("."), tensors)) for key, item in value.items()]
        if all(isinstance(key, str) and not key.startswith("$") for key in value):
            return dict(pairs)
        return {_DICT: [[_encode_key(key, place), item] for key, item in pairs]}
    raise TypeError(f"checkpoint value {place!r}: cannot keep a {type(value).__name__}")


def _keep(tensor: torch.Tensor, place: str, tensors: dict[str, torch.Tensor]) -> str:
    name = place
    while name in tensors:  # "a.b" may be the key "a.b" or the key "b" inside "a"
        name += "'"
    # A clone, as two names of one tensor are refused by safetensors.
    tensors[name] = tensor.detach().cpu().contiguous().clone()
    return name


def _as_tensor(array: np.ndarray[Any, Any], place: str) -> torch.Tensor:
    try:
        return torch.from_numpy(array.copy(order="C"))
    except TypeError as error:
        raise TypeError(f"checkpoint value {place!r}: cannot keep an array of {array.dtype}") from error


def _encode_key(key: Any, place: str) -> str | int:
    if not isinstance(key, (str, int)) or isinstance(key, bool):
        raise TypeError(f"checkpoint dict {place!r}: keys must be str or int, got {key!r}")
    return key


def _decode(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    if isinstance(value, list):
        return [_decode(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        ((tag, content),) = value.items()
        if tag == _TENSOR:
            return tensors[content]
        if tag == _ARRAY:
            return tensors[content].numpy()
        if tag == _FLOAT:
            return float(content)
        if tag == _TUPLE:
            return tuple(_decode(item, tensors) for item in content)
        if tag == _DICT:
            return {key: _decode(item, tensors) for key, item in content}
    return {key: _decode(item, tensors) for key, item in value.items()}
