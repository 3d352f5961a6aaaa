"""Arrays of any size in a folder, an array a file, replaced all together or not at all, and without pickle."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from secrets import token_hex
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyagent.files import sync_folder, write_atomically

_FORMAT = "pyagent arrays 1"
_INDEX, _PREFIX = "arrays.json", "arrays-"


def save_arrays(folder: str | Path, arrays: Mapping[str, NDArray[Any]], facts: Mapping[str, Any]) -> None:
    """Write arrays, and facts as JSON.

    The files go into a new subfolder; the index that names it takes the old one's place when they have reached the
    disk. So a crash leaves what was there before or what is there now.
    """
    folder = Path(folder)
    inside = folder / f"{_PREFIX}{token_hex(8)}"
    inside.mkdir(parents=True)
    try:
        for number, array in enumerate(arrays.values()):
            with open(inside / f"{number}.npy", "xb") as file:
                np.save(file, array, allow_pickle=False)
                file.flush()
                os.fsync(file.fileno())
        sync_folder(inside)
        index = {"format": _FORMAT, "folder": inside.name, "arrays": list(arrays), "facts": facts}
        write_atomically(folder / _INDEX, json.dumps(index).encode())
    except BaseException:
        shutil.rmtree(inside, ignore_errors=True)
        raise
    for other in folder.glob(f"{_PREFIX}*"):
        if other != inside:
            shutil.rmtree(other, ignore_errors=True)


def load_arrays(folder: str | Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """What `save_arrays` wrote, the arrays mapped from their files, not yet read.

    Raises:
        FileNotFoundError: nothing was saved there.
        ValueError: the files are damaged or of something else.
    """
    folder = Path(folder)
    if not (folder / _INDEX).is_file():
        raise FileNotFoundError(f"nothing was saved in {folder}")
    try:
        index = json.loads((folder / _INDEX).read_bytes())
        if index["format"] != _FORMAT:
            raise ValueError(f"want format {_FORMAT!r}, got {index['format']!r}")
        inside = folder / Path(index["folder"]).name
        files = {name: inside / f"{number}.npy" for number, name in enumerate(index["arrays"])}
        arrays = {name: np.load(file, mmap_mode="r", allow_pickle=False) for name, file in files.items()}
        return arrays, index["facts"]
    except (ValueError, KeyError, TypeError, OSError, EOFError) as error:
        raise ValueError(f"{folder} holds no saved arrays: {error}") from error
