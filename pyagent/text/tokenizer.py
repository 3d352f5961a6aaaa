"""Word-level and byte-pair tokenizers over the Hugging Face ``tokenizers`` library."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

try:
    import tokenizers
except ModuleNotFoundError as error:
    raise ModuleNotFoundError("pyagent.text needs tokenizers: pip install 'pyagent[train]'", name=error.name) from error
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

from pyagent.files import write_atomically

_SPECIAL = ("<unk>", "<bos>", "<eos>")
_ALPHABET = 256


class Tokenizer:
    """Turns text into token ids and back. Text is lower-cased; words the vocabulary lacks never fail.

    - ``"word"``: one token a word or punctuation mark; what training did not see becomes ``<unk>``.
    - ``"bpe"``: byte pairs (Sennrich et al. 2016, on bytes as in GPT-2); every text has tokens, none is unknown.

    Ids 0, 1 and 2 are ``<unk>``, ``<bos>`` and ``<eos>``. Text that contains these strings does not yield these
    ids: only code can. Made by `train` or `load`.
    """

    unk_id = 0
    bos_id = 1
    eos_id = 2

    def __init__(self, tokenizer: tokenizers.Tokenizer) -> None:
        kind = type(tokenizer.model).__name__
        if kind not in ("WordLevel", "BPE"):
            raise ValueError(f"tokenizer must hold a WordLevel or a BPE model, got {kind}")
        for id, token in enumerate(_SPECIAL):
            if tokenizer.token_to_id(token) != id:
                raise ValueError(f"tokenizer must give {token} the id {id}, got {tokenizer.token_to_id(token)}")
        self._tokenizer = tokenizer
        self.model: Literal["word", "bpe"] = "word" if kind == "WordLevel" else "bpe"

    @classmethod
    def train(
        cls,
        texts: Iterable[str],
        *,
        model: Literal["word", "bpe"] = "word",
        vocab_size: int = 8192,
        words: Sequence[str] = (),
    ) -> Tokenizer:
        """Learns a vocabulary.

        Args:
            texts: what to learn from.
            model: ``"word"`` or ``"bpe"``.
            vocab_size: tokens at most, the three special ones and `words` included.
            words: words that are one token each, whatever the texts hold: action words, say.

        Raises:
            TypeError: `texts` or `words` is one string, or holds something else than strings.
            ValueError: another `model`; a word that is not a single one; a `vocab_size` too small for `words` (and for
                ``"bpe"`` the 256 bytes).
        """
        if model not in ("word", "bpe"):
            raise ValueError(f"model must be 'word' or 'bpe', got {model!r}")
        for name, value in (("texts", texts), ("words", words)):
            if isinstance(value, str):
                raise TypeError(f"{name} must be an iterable of strings, got one string")
        required = [*_SPECIAL, *_single_words(model, words)]
        least = len(required) + (_ALPHABET if model == "bpe" else 0)
        if vocab_size < least:
            raise ValueError(f"vocab_size must be at least {least} for these words, got {vocab_size}")
        learned, merges = _learn(texts, model, vocab_size - len(required))
        vocab = {token: id for id, token in enumerate(dict.fromkeys([*required, *learned]))}
        tokenizer = _pipeline(model)
        if model == "word":
            tokenizer.model = models.WordLevel(vocab, unk_token=_SPECIAL[0])
        else:
            # ignore_merges: a word that is in the vocabulary is one token even where no merges lead to it.
            tokenizer.model = models.BPE(vocab, merges, ignore_merges=True)
        return cls(tokenizer)

    def __len__(self) -> int:
        return self._tokenizer.get_vocab_size()

    def encode(self, text: str) -> list[int]:
        """The ids of a text; no special tokens are added."""
        _check_text(text)
        return self._tokenizer.encode(text, add_special_tokens=False).ids

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of many texts, in parallel."""
        if isinstance(texts, str):
            raise TypeError("texts must be a sequence of strings, got one string")
        for text in texts:
            _check_text(text)
        return [found.ids for found in self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]

    def encode_pieces(self, text: str) -> list[tuple[str, int, bool]]:
        """What each token of a text stands for: (piece of the text, id, whether the vocabulary knows it)."""
        _check_text(text)
        found = self._tokenizer.encode(text, add_special_tokens=False)
        return [
            (text[start:end].strip(), id, id != self.unk_id)
            for id, (start, end) in zip(found.ids, found.offsets, strict=True)
        ]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids; ``<bos>`` and ``<eos>`` are left out.

        Raises:
            IndexError: an id outside the vocabulary.
        """
        ids = [int(id) for id in ids]
        for id in ids:
            if not 0 <= id < len(self):
                raise IndexError(f"ids must lie in [0, {len(self)}), got {id}")
        kept = [id for id in ids if id not in (self.bos_id, self.eos_id)]
        return self._tokenizer.decode(kept, skip_special_tokens=False).strip()

    def to_json(self) -> str:
        """The tokenizer as a JSON text in the format of the ``tokenizers`` library."""
        return self._tokenizer.to_str()

    @classmethod
    def from_json(cls, text: str) -> Tokenizer:
        """The tokenizer that `to_json` wrote.

        Raises:
            ValueError: the text is no tokenizer, or not one of ours.
        """
        try:
            tokenizer = tokenizers.Tokenizer.from_str(text)
        except Exception as error:  # the library raises plain Exception
            raise ValueError(f"text is no tokenizer in JSON: {error}") from error
        return cls(tokenizer)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes a JSON file that the ``tokenizers`` library reads too. An existing file is replaced in one step."""
        write_atomically(Path(path), self.to_json().encode())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Tokenizer:
        """Reads what `save` wrote.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file is no tokenizer, or not one of ours.
        """
        return cls.from_json(Path(path).read_text(encoding="utf-8"))


def _check_text(text: object) -> None:
    if not isinstance(text, str):
        raise TypeError(f"text must be a string, got {type(text).__name__}")


def _pipeline(model: str) -> tokenizers.Tokenizer:
    tokenizer = tokenizers.Tokenizer(models.WordLevel({}, unk_token=_SPECIAL[0]) if model == "word" else models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    if model == "word":
        # Marks one by one: "!?" is two known tokens, not one that training may never have seen.
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), pre_tokenizers.Punctuation()])
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
        tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _single_words(model: str, words: Sequence[str]) -> list[str]:
    """The words as the model spells them."""
    pipeline = _pipeline(model)
    spelled = []
    for word in words:
        _check_text(word)
        pieces = pipeline.pre_tokenizer.pre_tokenize_str(pipeline.normalizer.normalize_str(word))
        if len(pieces) != 1:
            raise ValueError(f"words must be single words without spaces or punctuation, got {word!r}")
        spelled.append(pieces[0][0])
    return spelled


def _learn(texts: Iterable[str], model: str, size: int) -> tuple[list[str], list[tuple[str, str]]]:
    """The learned tokens, most frequent first, and the merges of a byte-pair model."""
    tokenizer = _pipeline(model)
    if model == "word":
        trainer = trainers.WordLevelTrainer(vocab_size=size, show_progress=False)
    else:
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    vocab = tokenizer.get_vocab(with_added_tokens=False)
    merges = json.loads(tokenizer.to_str())["model"].get("merges", []) if model == "bpe" else []
    return sorted(vocab, key=vocab.__getitem__), [(left, right) for left, right in merges]
