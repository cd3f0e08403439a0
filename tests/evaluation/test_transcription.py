"""Error rates of transcripts: parity with jiwer, gaps, models that do not transcribe."""

from __future__ import annotations

from typing import Any

import jiwer
import numpy as np
import pytest
import torch
from torch import Tensor

from counterpoint.data.synthetic.speech import Speech
from counterpoint.evaluation import create
from counterpoint.evaluation.task import NotApplicableError
from counterpoint.evaluation.tasks.transcription import edits
from counterpoint.raw import Waves
from fixtures.tiny import Pixels

DATA = Speech.parse(
    "speech:short,train=2,validation=2,test=30,pixels=16,missing_speech=0.2,missing_captions=0.2"
)
ROWS = DATA.splits.test["as trained"]


class Hears:
    """A model that writes what it is told to, in its order."""

    heads = ("global",)

    def __init__(self, texts: list[str]) -> None:
        self.texts = texts

    def embed(self, modality: str, inputs: Any, head: str = "default") -> Tensor:
        raise AssertionError("nothing is embedded")

    def similarity(self, a: Tensor, b: Tensor) -> Tensor:
        return a @ b.T

    def transcribe(self, sounds: Any) -> list[str]:
        return [self.texts.pop(0) for _ in range(len(sounds))]


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows without anything said, which takes no time."""
    monkeypatch.setattr(Speech, "read", lambda self, column, rows: Waves(torch.zeros(len(rows), 10), 16_000))


@pytest.mark.usefixtures("read")
def test_error_rates_are_those_of_jiwer() -> None:
    kept = [int(row) for row in ROWS if DATA.captions(int(row))[0] and not DATA.lacks("audio", int(row))]
    said = [DATA.captions(row)[0] for row in kept]
    assert 8 < len(said) < len(ROWS)
    # A word left out, two letters exchanged, nothing, and all of it.
    written = [
        " ".join(text.split()[1:])
        if k % 4 == 0
        else text.replace("a", "oo")
        if k % 4 == 1
        else ""
        if k % 4 == 2
        else text.upper() + " "
        for k, text in enumerate(said)
    ]
    scores = create("transcription")(Hears(list(written)), DATA, ROWS)
    clean = [text.lower().strip() for text in written]
    assert scores.value("cer") == pytest.approx(jiwer.cer(said, clean))
    assert scores.value("wer") == pytest.approx(jiwer.wer(said, clean))
    outcomes = scores.examples["characters"]
    assert outcomes.null_count() == len(ROWS) - len(kept)
    assert not scores.metrics["cer"].higher_is_better
    nothing = create("transcription")(Hears([""] * len(kept)), DATA, ROWS)
    assert nothing.value("cer") == nothing.value("wer") == 1


def test_edits_of_random_words_are_jiwers() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        one, other = ("".join(rng.choice(list("abc"), size=int(rng.integers(1, 9)))) for _ in range(2))
        assert edits(one, other) / len(other) == pytest.approx(jiwer.cer(other, one))


def test_models_that_do_not_transcribe_are_named() -> None:
    with pytest.raises(NotApplicableError, match="models that transcribe speech"):
        create("transcription")(Pixels(), DATA, ROWS)


@pytest.mark.usefixtures("read")
def test_of_several_texts_the_one_with_the_lowest_rate_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    # Written is "abcdefghij": three edits of three letters, or four of twelve.
    texts = ["abc", "abcdefghijklmn"]
    monkeypatch.setattr(
        "counterpoint.evaluation.tasks.transcription.captions_of",
        lambda data, rows: [texts] * len(rows),
    )
    rows = ROWS[DATA.present("audio", ROWS) & DATA.present("text", ROWS)]
    scored = create("transcription")(Hears(["abcdefghij"] * len(rows)), DATA, rows)
    assert scored.examples["character edits"].to_list() == [4] * len(rows)
    assert scored.value("cer") == pytest.approx(4 / 14)
