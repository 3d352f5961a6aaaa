"""The folder of an agent: its tokenizer, its weights, and what it was made of."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from pyagent.files import load_weights, save_weights, write_atomically
from pyagent.text import Tokenizer


def save_agent(path: str | Path, agent: nn.Module, tokenizer: Tokenizer, config: dict[str, Any]) -> None:
    """Writes `tokenizer.json`, `weights.safetensors` and `config.json` into the folder `path`."""
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(folder / "tokenizer.json")
    save_weights(folder / "weights.safetensors", agent.state_dict())
    whole = {}
    if (folder / "config.json").is_file():  # a run's folder: its settings stay
        whole = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    whole["agent"] = config
    write_atomically(folder / "config.json", (json.dumps(whole, indent=2) + "\n").encode())


def load_agent(kind: type[Any], path: str | Path, **parts: Any) -> Any:
    """The agent that `save_agent` wrote, made as ``kind(tokenizer, **config, **parts)``.

    Raises:
        FileNotFoundError: the folder lacks one of the files.
        ValueError: the files do not hold an agent of this kind.
    """
    folder = Path(path)
    for name in ("config.json", "tokenizer.json", "weights.safetensors"):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"no agent at {folder}: {name} is missing")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("agent")
    if not isinstance(config, dict):
        raise ValueError(f"{folder / 'config.json'} describes no agent")
    try:
        agent = kind(Tokenizer.load(folder / "tokenizer.json"), **{**config, **parts})
        agent.load_state_dict(load_weights(folder / "weights.safetensors"))
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"{folder}: the weights are not those of this agent: {error}") from error
    return agent


def action_ids(tokenizer: Tokenizer, action_words: Sequence[str]) -> list[int]:
    """The token of each action's word.

    Raises:
        ValueError: an action word that is not one known token.
    """
    ids = [tokenizer.encode(word) for word in action_words]
    for word, found in zip(action_words, ids, strict=True):
        if len(found) != 1 or found[0] == tokenizer.unk_id:
            raise ValueError(
                f"action_words: {word!r} is not one token of the tokenizer; train it with words=action_words"
            )
    return [found[0] for found in ids]
