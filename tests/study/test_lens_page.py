"""The pages of assistants: what supports a reply, word by word, and the languages that they speak."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from counterpoint.cli import main
from counterpoint.data.synthetic.scenes.world import Scenes
from counterpoint.decoding.assistant import VisionLanguageAssistant
from counterpoint.diagnostics.assistants.boxes import Box
from counterpoint.diagnostics.assistants.captions import Layers, ReplySupport, Word
from counterpoint.networks.tiny_vlm import build, processor, train_tokenizer
from counterpoint.recipes.tiny_vlm import TinyVLM, Transformer
from counterpoint.study.report import fidelity, lens
from fixtures.page import Page

SMALL = TinyVLM(
    image_size=24,
    patch=12,
    vision=Transformer(width=16, layers=1, heads=2),
    language=Transformer(width=16, layers=3, heads=2),
    vocabulary=320,
)
TEXTS = ("Describe the picture. a red cat and a dog", "Was ist auf dem Bild? eine rote Katze und ein Hund")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of an untrained model whose replies are words."""
    folder = tmp_path_factory.mktemp("vlm")
    tokenizer = train_tokenizer(TEXTS * 20, SMALL.vocabulary)
    torch.manual_seed(0)
    model = build(SMALL, tokenizer).eval()
    model.generation_config.eos_token_id = None
    model.generation_config.suppress_tokens = [
        token for token in range(len(tokenizer)) if not tokenizer.decode([token]).strip().isalpha()
    ]
    model.save_pretrained(folder)
    processor(SMALL, tokenizer).save_pretrained(folder)
    return folder


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "picture.png"
    Image.new("RGB", (40, 30), (200, 30, 30)).save(path)
    return path


def looked_at() -> ReplySupport:
    def word(text: str, start: int, support: float) -> Word:
        heat = torch.tensor([[0.1, support], [0.2, 0.3]])
        return Word(text, start, start + len(text), support, 0.2, 0.5, heat, Box(0, 1, 1, 2, (2, 2), support))

    words = (word("A", 0, 0.7), word("red", 2, 0.9), word("cat", 6, 0.5))
    return ReplySupport("A red cat.", words, Layers(1, 2), (2, 2))


def test_words_are_coloured_from_the_best_supported_to_the_least() -> None:
    found = lens.pieces(looked_at())
    assert "".join(piece.text for piece in found) == "A red cat."
    doubts = {piece.text: piece.doubt for piece in found if piece.doubt is not None}
    assert doubts == {"A": pytest.approx(0.5), "red": 0.0, "cat": 1.0}


def test_the_frame_is_drawn_around_the_box() -> None:
    seen = Image.new("RGB", (80, 80), "white")
    word = looked_at().words[1]
    drawn = lens.overlay(seen, word)
    edge = [sum(drawn.getpixel((x, 20))) for x in range(36, 48)]  # type: ignore[arg-type]
    assert min(edge) < 150  # the frame's left side
    left, right = (sum(drawn.getpixel((x, 20))[1:]) for x in (10, 70))  # type: ignore[index]
    assert right < left  # red where the place is most like the word


def test_everything_is_written(tmp_path: Path) -> None:
    picture = torch.zeros(3, 20, 40, dtype=torch.uint8)
    told = lens.write_lens(
        tmp_path,
        looked_at(),
        picture,
        prompt="What?",
        model="m",
        command=["counterpoint", "diagnose", "m", "--what", "lens"],
        cropped=True,
    )
    assert json.loads((tmp_path / lens.FILE).read_text(encoding="utf-8")) == told
    assert told["words"][1]["box"] == [0.5, 0.0, 1.0, 0.5]
    assert told["words"][1]["area"] == 0.25
    page = Page((tmp_path / lens.PAGE).read_text(encoding="utf-8"))
    assert "A red cat." in page.text
    pictures = page.all("img")
    assert len(pictures) == 3  # as it is, red, cat: articles have no place
    assert all(str(it["src"]).startswith("data:image/png;base64,") and it["alt"] for it in pictures)
    with Image.open(tmp_path / lens.SHEET) as sheet:
        assert sheet.width > sheet.height


@pytest.mark.parametrize(("text", "meaningless"), [("Yes", True), ("no", True), ("cat", False)])
def test_yes_and_no_are_said_to_mean_nothing_that_is_seen(
    text: str, meaningless: bool, tmp_path: Path
) -> None:
    found = looked_at()
    said = replace(found, reply=text, words=(replace(found.words[0], text=text, end=len(text)),))
    told = lens.write_lens(
        tmp_path, said, torch.zeros(3, 8, 8, dtype=torch.uint8), prompt="Is it?", model="m", command=[]
    )
    page = Page((tmp_path / lens.PAGE).read_text(encoding="utf-8"))
    for words in (told["remark"] or "", page.text):
        assert ("Yes and no have no meaning of their own" in words) == meaningless


def test_lens_command(saved: Path, picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "diagnose",
        str(saved),
        "--what",
        "lens",
        "--image",
        str(picture),
        "--out",
        str(tmp_path / "out"),
        "--json",
    ]
    assert main([*words, "--reply", "a red cat", "--layers", "1", "2"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["reply"] == "a red cat"
    assert [word["word"] for word in told["words"]] == ["a", "red", "cat"]
    assert (told["layers"], told["grid"]) == ({"patches": 1, "words": 2}, [2, 2])
    assert all(math.isfinite(word["support"]) for word in told["words"])
    assert main(words) == 0  # what the model itself says
    assert (tmp_path / "out" / lens.PAGE).exists()
    assert main([*words, "--layers", "1", "9"]) == 1
    assert "layers 0 to 3" in capsys.readouterr().err


def test_fidelity_page(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fidelity, "GAMMAS", (1.0,))
    data = Scenes.parse("scenes:tiny,train=1,validation=1,test=8,pixels=24")
    assistant = VisionLanguageAssistant.load(saved, max_new_tokens=4)
    told = fidelity.write_fidelity(
        tmp_path,
        assistant,
        data,
        data.splits.test["as trained"],
        ("en", "de"),
        model="m",
        command=["counterpoint", "diagnose", "m", "--what", "language"],
    )
    assert json.loads((tmp_path / fidelity.FILE).read_text(encoding="utf-8")) == told
    assert list(told["sections"]) == ["fidelity", "alignment", "spoken", "steering", "answers"]
    numbers = told["sections"]["alignment"]["numbers"]
    assert numbers["en and de, layer 0"] is not None or "en and de, layer 1" in numbers
    page = Page((tmp_path / fidelity.PAGE).read_text(encoding="utf-8"))
    for section in told["sections"].values():
        assert bool(section["numbers"]) != section["sentence"].startswith("Not measured")
        assert section["sentence"][:40] in page.text
    with pytest.raises(ValueError, match="English as the control"):
        fidelity.write_fidelity(
            tmp_path, assistant, data, data.splits.test["as trained"], ("de",), model="m", command=[]
        )


@pytest.mark.parametrize(("own", "warned"), [(0.9, False), (0.2, True)])
def test_little_fidelity_to_lose_is_said(
    own: float, warned: bool, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Scored:
        def __init__(self, languages: object) -> None: ...

        def __call__(self, *given: object) -> Scored:
            return self

        def value(self, metric: str, subset: str = "all") -> float:
            return own

    monkeypatch.setattr(fidelity, "Fidelity", Scored)
    data = Scenes.parse("scenes:tiny,train=1,validation=1,test=2,pixels=24")
    assistant = VisionLanguageAssistant.load(saved)
    rows = data.splits.test["as trained"]
    told = fidelity.replies(fidelity.PromptedAssistant(assistant, data, rows, ("en", "de"))).sentence
    assert ("has little to take away" in told) == warned
