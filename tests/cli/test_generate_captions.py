"""``counterpoint generate`` with the run of a captioner, and a captioner as an assistant."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from counterpoint import models
from counterpoint.cli import main
from counterpoint.decoding import CaptioningAssistant
from counterpoint.types import Assistant, Prompt

PICTURE = torch.zeros(3, 8, 8, dtype=torch.uint8)


class Says:
    """A captioner that says what it was asked to do."""

    def caption(self, pictures: Any, **options: Any) -> list[str]:
        return [f"{tuple(picture.shape)} {sorted(options.items())}" for picture in pictures]

    def log_likelihood(self, pictures: Any, captions: Any) -> Tensor:
        return torch.tensor([[-float(len(caption)), 1.0] for caption in captions])


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    (tmp_path / "recipe.yaml").touch()
    Image.fromarray(np.zeros((6, 9, 3), np.uint8)).save(tmp_path / "photo.png")
    monkeypatch.setattr(models, "load", lambda reference: Says())
    return ["generate", "--model", str(tmp_path), "--image", str(tmp_path / "photo.png")]


def test_run_of_a_captioner_writes_a_caption(run: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*run, "--beams", "3", "--json"]) == 0
    caption = json.loads(capsys.readouterr().out)["caption"]
    assert caption.startswith("(3, 6, 9)")
    assert "('beams', 3)" in caption
    assert main(run) == 0
    assert "(3, 6, 9)" in capsys.readouterr().out


def test_captioner_takes_no_prompt_and_other_models_need_one(
    run: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main([*run, "--prompt", "what is it"]) != 0
    assert "is a run of a captioner, which takes none" in capsys.readouterr().err
    assert main(["generate", "--model", "tiny-vlm", *run[3:]]) != 0
    assert "--prompt is missing" in capsys.readouterr().err
    monkeypatch.setattr(models, "load", lambda reference: object())
    assert main(run) != 0
    assert "which writes nothing" in capsys.readouterr().err


def test_captioner_as_assistant() -> None:
    assistant = CaptioningAssistant(Says(), do_sample=True)
    assert isinstance(assistant, Assistant)
    one, two = Prompt("describe", PICTURE), Prompt("describe it", PICTURE)
    alone = assistant.reply([one], seed=1)
    assert assistant.reply([two, one], seed=1)[1:] == alone  # a seed of the prompt's own
    assert assistant.reply([one], seed=2) != alone
    assert CaptioningAssistant(Says()).reply([]) == []
    assert assistant.word_logits([one], ["yes", "no"]).tolist() == [[-3.0, -2.0]]
    with pytest.raises(ValueError, match="one picture a prompt"):
        assistant.reply([Prompt("describe")])
