"""Files written whole or not at all, and read without pickle."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Any

from torch import Tensor


def write_atomically(path: str | Path, data: bytes) -> None:
    """Write `data` to `path`: after a crash at any moment the file holds the old bytes or the new ones, never a mix.

    The bytes go to `.<name>.<random>.tmp` in the same folder, reach the disk, and take the name's place.
    """
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(8)}.tmp")
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(target.parent)


def sync_folder(folder: Path) -> None:
    """Make new names in a folder themselves survive a power cut."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def save_weights(path: str | Path, weights: dict[str, Tensor]) -> None:
    """Write a `state_dict` as plain safetensors under its own names, atomically."""
    safetensors = safetensors_torch()
    write_atomically(path, safetensors.save(_apart(weights)))


def load_weights(path: str | Path) -> dict[str, Tensor]:
    """A `state_dict` that `save_weights` wrote, on the CPU.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not a safetensors file.
    """
    safetensors = safetensors_torch()
    from safetensors import SafetensorError

    if not Path(path).is_file():
        raise FileNotFoundError(f"no weights at {path}")
    try:
        return safetensors.load_file(str(path))
    except SafetensorError as error:
        raise ValueError(f"{path} holds no weights: {error}") from error


def _apart(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tied weights as tensors of their own: safetensors refuses two names of one tensor."""
    return {name: weight.detach().cpu().contiguous().clone() for name, weight in weights.items()}


def safetensors_torch() -> Any:
    """The module safetensors.torch.

    Raises:
        ImportError: it is not installed; says which extra has it.
    """
    try:
        import safetensors.torch
    except ImportError as error:
        raise ImportError("saving and loading needs safetensors: pip install 'pyagent[train]'") from error
    return safetensors.torch
