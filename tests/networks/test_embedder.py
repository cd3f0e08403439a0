"""A language model as a tower: which state is read, what is shared, and what comes from a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from counterpoint.methods import create
from counterpoint.networks import build_towers
from counterpoint.networks.towers.embedder import PictureEmbedder, TextEmbedder, prompt
from counterpoint.raw import Exchange
from counterpoint.recipes import Recipe
from counterpoint.recipes.schema import Towers
from counterpoint.study.training.runner import run as carry_out
from counterpoint.training.run import Run
from counterpoint.training.start import load

SIZES: dict[str, Any] = {
    "image_size": 16,
    "image_width": 16,
    "image_layers": 1,
    "talk_width": 32,
    "talk_layers": 1,
    "vocabulary": 300,
}
TEXTS = ["a red cat", "a dog that sleeps on a chair", "five"]


def towers(*columns: str, **names: str) -> Any:
    names = names or dict.fromkeys(columns, "lm")
    built = build_towers(Towers(**SIZES), {}, 0, columns={c: c for c in columns}, names=names)
    return [built[column].eval() for column in columns]


@torch.no_grad()
def test_a_text_is_read_at_the_last_token_of_its_prompt() -> None:
    (text,) = towers("text")
    together = text(text.input(TEXTS))
    for feature, of in zip(together, TEXTS, strict=True):
        tokens = text.input([of])[0]
        length = int((tokens[2] > 0).sum())
        replied = text.language.chat([(Exchange(of, "yes"),)])[0]
        assert int(replied[1].argmax()) == length, "the reply would begin behind it"
        alone = text.language.model.base_model(input_ids=tokens[None, 0, :length]).last_hidden_state
        torch.testing.assert_close(feature, alone[0, -1])


@torch.no_grad()
def test_a_picture_stands_behind_the_opening_of_the_prompt() -> None:
    (image,) = towers("image")
    pictures = torch.rand(2, 3, 16, 16)
    plain = image(pictures)
    image.instruction = "Name the thing."
    language, opening = image.language, image.language.chat.opening
    tokens = language.chat([prompt("Name the thing.")])[0]
    embedded = language.embed(tokens[None, 0, : int((tokens[2] > 0).sum())]).expand(2, -1, -1)
    seen = image.bridge.linear(image.image.patches(pictures).flatten(2).mT)
    whole = torch.cat([embedded[:, :opening], seen, embedded[:, opening:]], 1)
    expected = language.model.base_model(inputs_embeds=whole).last_hidden_state[:, -1]
    torch.testing.assert_close(image(pictures), expected)
    assert not torch.allclose(plain, expected)


def test_columns_share_one_language_model() -> None:
    for order in (("image", "text"), ("text", "image")):
        built = towers(*order)
        method = create("clip", dict(zip(order, built, strict=True)), Recipe())
        assert [*method.towers] == [*method.projections] == [order[0]]
        weight = next(iter(method.towers.values())).language.head.weight
        for column, tower in zip(order, built, strict=True):
            inputs = tower.input(TEXTS) if column == "text" else torch.rand(3, 3, 16, 16)
            (gradient,) = torch.autograd.grad(tower(inputs).square().sum(), weight)
            assert gradient.any(), column


def test_beside_another_tower_of_pictures_texts_have_their_own() -> None:
    _, text = towers("image", "text", image="cnn", text="lm")
    assert text.core is text
    assert isinstance(text, TextEmbedder)


@pytest.mark.slow
def test_a_run_of_sft_is_a_tower_and_outlives_its_folder(tmp_path: Path) -> None:
    recipe = Recipe(
        batch_size=8, steps=2, threads=1, towers={**SIZES, "image": "vit"}, widths={"embedding": 16}
    )
    data = "scenes:tiny,train=40,validation=8,test=8,pixels=16"
    carry_out(Run("sft", f"{data},talk=captions", recipe), tmp_path / "sft", test=False)
    spoken = load(tmp_path / "sft")
    name = f"lm@{tmp_path / 'sft'}"
    built = build_towers(
        Towers(**SIZES),
        {},
        1,
        columns={"image": "image", "text": "text"},
        names={"image": name, "text": name},
    )
    image, text = built["image"].eval(), built["text"].eval()
    assert isinstance(image, PictureEmbedder)
    assert text.core is image
    tokens = spoken.language.chat([prompt("")])
    tokens = tokens[:, 0, : int((tokens[0, 2] > 0).sum())]
    pictures = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        given = spoken.speaker.given(spoken.speaker.patches(pictures))
        torch.testing.assert_close(image(pictures), spoken.speaker.states(tokens, given)[:, -1])
    carry_out(Run(f"clip,image={name},text={name}", data, recipe), tmp_path / "clip", test=False)
    (tmp_path / "sft").rename(tmp_path / "gone")
    model = load(tmp_path / "clip")
    assert [*model.towers] == ["image"]
    assert model.tower("text").language.chat.vocabulary == spoken.language.chat.vocabulary
    assert model.embed("text", TEXTS).isfinite().all()
    again = load(tmp_path / "clip")
    torch.testing.assert_close(again.embed("text", TEXTS), model.embed("text", TEXTS))
