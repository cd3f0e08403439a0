"""Methods that teach a painter new words: what learns, what does not, and what ties words to masks."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from method_stubs import All, build
from torch import Tensor

from counterpoint.testing._stubs import LATE, batch
from counterpoint.types import Batch

METHODS = "textual-inversion", "custom-diffusion", "textual-localization", "kind"
TWO = {"prompt": "a <cat> and <dog>", "like": "red+cat"}


def given(method: Any, maps: Tensor | None = None) -> Batch:
    """A batch of the method's columns, with maps where a test chooses them."""
    made = batch(method)
    return made if maps is None else replace(made, views={**made.views, "map": maps})


def trained(method: Any, maps: Tensor | None = None, steps: int = 2, rate: float = 0.05) -> Any:
    """The method after some steps, each with the same draws for every method."""
    optimizer = torch.optim.Adam([it for it in method.parameters() if it.requires_grad], lr=rate)
    for step in range(steps):
        torch.manual_seed(step)
        shown = method.prepare(given(method, maps), LATE)
        loss = sum(method.losses(method.encode(shown), shown, LATE).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return method


def halves(left: int, right: int) -> Tensor:
    """Maps of two classes."""
    maps = torch.full((16, 8, 8), left, dtype=torch.uint8)
    maps[:, :, 4:] = right
    return maps


@pytest.mark.parametrize("name", METHODS[:3])
def test_both_words_learn_and_nothing_of_the_painter_moves_or_is_saved(name: str) -> None:
    method = build(name, **TWO)
    before = copy.deepcopy(method.painter.state_dict())
    trained(method)
    assert (method.learned.words.vectors != method.learned.words.start).any(1).all()
    assert all(torch.equal(it, before[key]) for key, it in method.painter.state_dict().items())
    saved = {key.split(".")[1] for key in method.state_dict()}
    assert saved == {"words", "base"} | ({"keys", "values"} if method.keys else set())
    additions = [*method.learned.keys.parameters(), *method.learned.values.parameters()]
    assert bool(additions) == method.keys
    assert all(it.any() for it in additions)


def test_attention_0_is_custom_diffusion_and_another_moves_the_words_elsewhere() -> None:
    plain = trained(build("custom-diffusion", **TWO)).state_dict()
    without = trained(build("textual-localization", attention=0.0, **TWO)).state_dict()
    assert all(torch.equal(it, without[key]) for key, it in plain.items())
    tied = trained(build("textual-localization", **TWO)).state_dict()
    assert not torch.allclose(plain["learned.words.vectors"], tied["learned.words.vectors"])


def test_attention_moves_into_the_masks_and_follows_them_when_they_are_swapped() -> None:
    def inside(maps: Tensor) -> Tensor:
        options = {"prompt": "a <cat> and <dog>", "like": "cat"}
        method = build("textual-localization", attention=10.0, **options)
        trained(method, maps, steps=12, rate=0.1)
        seen = method.learned.attended(batch(method)["image"]).mean(0)
        half = seen.shape[-1] // 2
        return seen[:, :, :half].mean((1, 2)) - seen[:, :, half:].mean((1, 2))

    one, other = inside(halves(1, 2)), inside(halves(2, 1))
    assert one[0] > other[0]
    assert one[1] < other[1]


def test_masks_are_binary_and_of_the_classes_that_words_name() -> None:
    maps = torch.tensor([[[0, 1], [2, 255]]], dtype=torch.uint8)
    dog = build("textual-localization", prompt="a <dog>").masks(maps)
    first = build("textual-localization", prompt="a <one>").masks(maps)
    assert dog.tolist() == [[[[False, False], [True, False]]]]
    assert first.tolist() == [[[[False, True], [False, False]]]]


def test_pictures_without_a_map_have_the_other_losses_alone() -> None:
    method, unknown = build("textual-localization", **TWO), torch.full((16, 8, 8), 255, dtype=torch.uint8)
    shown = method.prepare(given(method, unknown), LATE)
    losses = method.losses(method.encode(shown), shown, LATE)
    assert losses["attention"] == 0
    assert losses["noise"] > 0


def test_prior_pictures_are_of_the_plain_class_and_count() -> None:
    method = build("custom-diffusion", prior=1.0, prior_pictures=2, **TWO)
    plain, examples = ["a red and cat"] * 2, All(given(method))
    torch.manual_seed(3)
    method.on_epoch_start(examples, LATE)
    torch.manual_seed(3)
    seeds = torch.randint(1 << 30, (2,)).tolist()
    torch.testing.assert_close(method.drawn, method.painter.draw(plain, seeds=seeds))
    shown = method.prepare(given(method), LATE)
    assert set(method.losses(method.encode(shown), shown, LATE)) == {"noise", "prior"}
    with pytest.raises(ValueError, match="like=WORD"):
        build("custom-diffusion", prior=1.0)


def test_refusals() -> None:
    with pytest.raises(ValueError, match="is no run of painter"):
        build("textual-inversion", painter="a run of clip")
    with pytest.raises(ValueError, match="the painter reads 6"):
        build("textual-inversion", prompt="a small old <one> over the hill")
