"""MultiBooth: words made from pictures, their lengths, and additions that stay in the boxes of their words."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from method_stubs import All, build
from torch import Tensor

from counterpoint.generation import draw_words, picture_features
from counterpoint.generation.personal import tokens_with
from counterpoint.methods.multibooth import MultiBooth
from counterpoint.testing._stubs import LATE, batch
from counterpoint.types import Batch

ERRORS, NORMS = "errors.image", "norms.image"


def made(**options: Any) -> MultiBooth:
    method = build("multibooth", **{"like": "cat", "rank": 2, "queries": 2, **options})
    assert isinstance(method, MultiBooth)
    torch.manual_seed(0)
    method.on_epoch_start(All(batch(method)), LATE)
    return method


def prepared(method: MultiBooth) -> Batch:
    torch.manual_seed(0)
    return method.prepare(batch(method), LATE)


def trained(method: MultiBooth, steps: int = 3) -> MultiBooth:
    optimizer = torch.optim.Adam([it for it in method.parameters() if it.requires_grad], lr=0.05)
    for _ in range(steps):
        shown = prepared(method)
        optimizer.zero_grad()
        sum(method.losses(method.encode(shown), shown, LATE).values()).backward()
        optimizer.step()
    return method


@pytest.fixture(scope="module")
def concepts() -> list[Any]:
    """Two concepts of one painter, learned apart."""
    one, other = made(prompt="a <one> cat"), made(prompt="a <two> red", like="red")
    other.learned._held = one.learned._held
    return [trained(one).learned, trained(other).learned]


def test_a_word_is_as_long_as_its_kind_and_the_penalty_is_on_what_comes_before() -> None:
    method = made(prompt="a <one> cat", like="small cat", penalty=0.5)  # a kind of two tokens
    table = method.painter.text.get_input_embeddings().weight
    assert len(method.learned.kinds[0]) == 2
    length = table[method.learned.kinds[0]].norm(dim=1).mean()
    torch.testing.assert_close(method.learned.vectors().norm(dim=1), length[None])
    shown = prepared(method)
    z = method.encode(shown)
    extracted = method.learned.extracted(shown["features.image"])
    assert not torch.allclose(extracted.norm(dim=2), length)
    torch.testing.assert_close(z[NORMS], extracted[:, 0].square().sum(1))
    losses = method.losses(z, shown, LATE)
    torch.testing.assert_close(losses["norm"], 0.5 * z[NORMS].mean())
    free = made(penalty=0.0)
    shown = prepared(free)
    assert set(free.losses(free.encode(shown), shown, LATE)) == {"noise"}


def test_each_picture_is_read_with_the_word_that_is_made_of_it() -> None:
    method = made(prompt="a <one> cat")
    shown = prepared(method)
    errors = method.encode(shown)[ERRORS]
    for k in (0, 5):
        word = method.learned.matched(method.learned.extracted(shown["features.image"][k : k + 1]))[0]
        tokens = method.learned.words.tokens(["a <one> cat"])
        states = method.painter.states(tokens, word)
        noisy, velocity = method.painter.noised(
            *(shown[name][k : k + 1] for name in ("image", "noise", "time"))
        )
        gaps = method.painter(noisy, shown["time"][k : k + 1], states) - velocity
        torch.testing.assert_close(errors[k], gaps.square().mean(), atol=1e-4, rtol=1e-4)


def test_drawings_have_the_word_of_the_mean_over_the_first_pictures() -> None:
    method = made(pictures=3)
    features = picture_features(method.painter, batch(method)["image"])
    mean = method.learned.extracted(features[:3]).mean(0)
    torch.testing.assert_close(method.learned.vectors(), method.learned.matched(mean))
    method.learned.remember(features[:2])  # fewer than there should be
    assert torch.equal(method.learned.features, features[[0, 1, 0]])


def test_the_encoder_and_the_additions_learn_and_nothing_of_the_painter_moves() -> None:
    method = made()
    before, start = copy.deepcopy(method.painter.state_dict()), copy.deepcopy(method.state_dict())
    trained(method)
    assert all(torch.equal(it, before[name]) for name, it in method.painter.state_dict().items())
    moved = {name for name, it in method.state_dict().items() if not torch.equal(it, start[name])}
    assert {name.split(".")[1] for name in moved} == {"encoder", "low_rank_keys", "low_rank_values"}
    assert all(f"learned.low_rank_keys.updates.{k}.up" in moved for k in range(4))


def test_a_word_without_additions_yet_draws_as_the_painter_does() -> None:
    method = made(prompt="a <one> cat")
    tokens = method.learned.words.tokens(["a <one> cat"])
    states = method.painter.states(tokens, method.learned.vectors())
    empty = method.painter.states(method.painter.tokenizer([""]))
    expected = method.painter.sample(states, empty, steps=2)
    torch.testing.assert_close(method.draw(["a <one> cat"], steps=2), expected, atol=1e-3, rtol=0)


def attended(painter: Any, draw: Any) -> list[Tensor]:
    """Return what the first attention layer to a text says at the first step of a drawing."""
    layer = next(m for name, m in painter.unet.named_modules() if name.endswith("attn2"))
    seen: list[Tensor] = []
    hook = layer.register_forward_hook(lambda *given: seen.append(given[-1]))
    draw()
    hook.remove()
    return seen


def test_additions_stay_in_their_boxes_and_out_of_the_unconditional_half(concepts: list[Any]) -> None:
    painter, text = concepts[0].painter, ["<one> and <two>"]
    before = copy.deepcopy(painter.state_dict())
    boxes = {"<one>": (0.0, 0.0, 0.5, 0.5), "<two>": (0.5, 0.5, 1.0, 1.0)}

    def drawn(**options: Any) -> Tensor:
        return attended(painter, lambda: draw_words(concepts, text, steps=1, **options))[0]

    def plain() -> None:
        vectors = torch.cat([it.vectors() for it in concepts])
        tokens = tokens_with(painter.tokenizer, text, ["<one>", "<two>"])
        states, empty = painter.states(tokens, vectors), painter.states(painter.tokenizer([""]))
        painter.sample(states, empty, steps=1)

    (base,) = attended(painter, plain)
    both = drawn(boxes=boxes)
    side = int(base.shape[1] ** 0.5)
    inside = torch.zeros(side, side, dtype=torch.bool)
    inside[: side // 2, : side // 2] = inside[side // 2 :, side // 2 :] = True
    assert torch.equal(both[0], base[0])  # the unconditional half
    assert torch.equal(both[1][~inside.flatten()], base[1][~inside.flatten()])  # cells in no box, bit for bit
    assert (both[1] != base[1])[inside.flatten()].any(1).all()
    one = drawn(boxes={"<one>": boxes["<one>"]})
    corner = torch.zeros_like(inside)
    corner[: side // 2, : side // 2] = True
    assert torch.equal(one[1][corner.flatten()], both[1][corner.flatten()])
    small = drawn(boxes={"<one>": (0.51, 0.51, 0.52, 0.52)})
    assert int((small[1] != base[1]).any(1).sum()) == 1
    assert all(
        torch.equal(it, before[name]) for name, it in painter.state_dict().items()
    )  # nothing is merged


def test_the_sum_of_texts_and_all_additions_without_boxes(concepts: list[Any]) -> None:
    text, whole = ["<one> and <two>"], {"<one>": (0.0, 0.0, 1.0, 1.0)}
    own = draw_words(concepts, text, boxes=whole, steps=1)
    assert torch.equal(
        own, draw_words(concepts, text, boxes=whole, prompts={"<one>": "a <one> cat"}, steps=1)
    )
    assert not torch.equal(own, draw_words(concepts, text, boxes=whole, summed=True, steps=1))
    merged = draw_words(concepts, text, steps=1)
    assert not torch.equal(merged, draw_words(concepts[:1], ["<one> and a"], steps=1))


def test_refusals() -> None:
    with pytest.raises(ValueError, match="name a word of the painter"):
        build("multibooth", like="")
    with pytest.raises(ValueError, match="must name a kind for each of the new words"):
        build("multibooth", prompt="a <one> and <two>", like="cat+red+hill")
    assert build("multibooth", on="images", prompt="").learned.words.prompt == "a <one> cat"
