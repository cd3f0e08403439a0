"""VladVA: which state embeds, what a caption sees, and what moves."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from method_stubs import LATE, RECIPE

from counterpoint.losses import InfoNCELoss
from counterpoint.methods import create
from counterpoint.methods.vladva import IMAGE_PROMPT, TEXT_PROMPT
from counterpoint.networks import build_towers
from counterpoint.networks.towers.chat import EXCHANGE, REPLY, TOKEN
from counterpoint.networks.towers.embedder import prompt
from counterpoint.raw import Exchange
from counterpoint.recipes.schema import Towers
from counterpoint.types import Batch

TEXTS = ["a cat", "two dogs that sleep on a chair", "five"]
TALKS = [(Exchange("Describe it.", reply),) for reply in ("A cat sits here.", "Dogs. They sleep.", "5")]
PICTURES = torch.randint(256, (3, 3, 16, 16), dtype=torch.uint8)
COLUMNS = {"image": "image", "talk": "talk", "text": "text"}


def model(pretrained: bool = False, **options: Any) -> Any:
    sizes = {"image_size": 16, "image_width": 16, "image_patch": 8, "talk_width": 32, "talk_layers": 1}
    towers = build_towers(
        Towers(**sizes, image="vit", vocabulary=300, talk_context=64),
        {"talk": TALKS, "text": TEXTS, "image": PICTURES},
        0,
        columns=COLUMNS,
        names={"image": "vit", "text": "lm"},
    )
    if pretrained:
        towers["image"].name = "vit@weights"
    return create("vladva", towers, RECIPE, **options).eval()


def given(method: Any) -> Batch:
    raws = {"image": PICTURES, "talk": TALKS, "text": TEXTS}
    return Batch(torch.arange(3), {column: method.inputs[column](raw) for column, raw in raws.items()})


@torch.no_grad()
def test_at_the_start_the_state_is_that_of_the_written_prompt() -> None:
    method = model()
    chat, speaker = method.language.chat, method.speaker
    talk = chat([prompt("", IMAGE_PROMPT)])
    tokens = talk[:, TOKEN, : int((talk[0, EXCHANGE] > 0).sum())]
    seen = speaker.given(speaker.patches(method.inputs["image"](PICTURES)))
    expected = speaker.states(tokens.expand(3, -1), seen)[:, -1]
    torch.testing.assert_close(method.embed("image", PICTURES), F.normalize(expected, dim=-1))

    embedded = method.embed("text", TEXTS)
    for text, mine in zip(TEXTS, embedded, strict=True):
        torch.testing.assert_close(method.embed("text", [text])[0], mine)  # whatever padding stands behind
        words = chat([prompt("", text)])[0]
        words = words[
            TOKEN, : int((words[EXCHANGE] > 0).sum()) - 1
        ]  # the template has one token behind a request
        behind = chat([prompt("", TEXT_PROMPT)])[0]
        behind = behind[TOKEN, chat.opening : int((behind[EXCHANGE] > 0).sum())]
        whole = method.language.embed(torch.cat([words, behind])[None])
        expected = method.language.token_states(whole)[:, -1]
        torch.testing.assert_close(mine, F.normalize(expected, dim=-1)[0])


@torch.no_grad()
def test_text_that_the_context_cuts_ends_in_its_prompt() -> None:
    method = model()
    cut = method.embed("text", ["x y " * 100])
    with torch.no_grad():
        method.soft_prompts["text"].vectors[-1] += 1
    assert not torch.allclose(method.embed("text", ["x y " * 100]), cut)


@pytest.mark.parametrize("through", ["all", "summary"])
def test_captions_are_written_behind_the_soft_prompt_in_a_pass_of_their_own(through: Any) -> None:
    method = model(through=through)
    batch = given(method)
    z = method.encode(batch)
    spoken = batch["talk"][:, REPLY] > 0
    assert not z["talk"][~spoken].any()
    patches = method.speaker.patches(batch["image"])
    for row, (mine, talk) in enumerate(zip(z["talk"], batch["talk"], strict=True)):
        tokens = talk[TOKEN][talk[REPLY] > 0]
        start = method._seen(method.speaker.given(patches[row : row + 1]), 1)
        for count, token in enumerate(tokens.tolist()):
            whole = torch.cat([start, method.language.embed(tokens[None, :count])], 1)
            length, mask = start.shape[1], torch.ones(1, *(whole.shape[1],) * 2, dtype=torch.bool).tril()
            if through == "summary":
                mask[:, length:, : length - 1] = False
            logits = method.language.head(method.language.token_states(whole, mask=mask)[0, -1])
            expected = logits.log_softmax(-1)[token]
            torch.testing.assert_close(mine[spoken[row]][count], expected, rtol=1e-4, atol=1e-5)
    f, g = (F.normalize(z[column], dim=-1) for column in ("image", "text"))
    losses = method.losses(z, batch, LATE)
    torch.testing.assert_close(losses["contrast"], InfoNCELoss(0.07)(f, g))
    torch.testing.assert_close(losses["nll"], -z["talk"].sum() / spoken.sum())
    torch.testing.assert_close(method.embed("image", PICTURES), f)  # no caption enters it
    (words,) = method.log_likelihood_of_words([PICTURES[0]], [TALKS[0][0]])
    torch.testing.assert_close(words.sum(), z["talk"][0].sum().detach())


def test_without_writing_no_caption_is_read() -> None:
    method = model(writing=0.0)
    z = method.encode(given(method))
    assert {*z} == {"image", "text"}
    assert {*method.losses(z, given(method), LATE)} == {"contrast"}


def test_of_a_pretrained_model_pictures_and_bridge_stay() -> None:
    moving = {name for name, p in model(pretrained=True).named_parameters() if p.requires_grad}
    assert {name.partition(".")[0] for name in moving} == {"towers", "soft_prompts", "objective"}
    assert not any(name.startswith("towers.image") for name in moving)
    assert any(
        name.startswith("bridge_projections") for name, p in model().named_parameters() if p.requires_grad
    )
