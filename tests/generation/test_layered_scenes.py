"""Scenes of layers: places, order and dyes, gradients of all parameters, and fits to prompts."""

from __future__ import annotations

import torch
from torch import Tensor

from counterpoint.generation import LayeredScenes, fit_scenes, modality_similarity


def squares() -> Tensor:
    """A red and a green square that fill their pictures."""
    bank = torch.zeros(2, 4, 8, 8)
    bank[0, 0] = bank[1, 1] = bank[:, 3] = 1
    return bank


def scene(count: int = 1, layers: int = 1) -> LayeredScenes:
    scenes = LayeredScenes(squares(), count, layers=layers, size=16, scale=0.5)
    with torch.no_grad():
        scenes.mix.fill_(-30)
        scenes.place.fill_(0.5)
        scenes.choice[..., 0] = 40
    return scenes


def test_a_layer_covers_its_square_and_nothing_else() -> None:
    scenes = scene()
    picture = scenes().detach()[0]
    red = torch.tensor([1.0, 0, 0])[:, None, None].expand(3, 8, 8)
    torch.testing.assert_close(picture[:, 4:12, 4:12], red)
    around = torch.cat([picture[:, :4].flatten(), picture[:, 12:].flatten()])
    torch.testing.assert_close(around, torch.ones_like(around))
    with torch.no_grad():
        scenes.place[0, 0] = torch.tensor([0.25, 0.75])  # left, below
    torch.testing.assert_close(scenes().detach()[0, :, 8:, :8], red)


def test_the_last_layer_is_in_front() -> None:
    scenes = scene(layers=2)
    with torch.no_grad():
        scenes.choice[0, 1] = torch.tensor([0.0, 40.0])
    torch.testing.assert_close(scenes().detach()[0, :, 8, 8], torch.tensor([0.0, 1, 0]))


def test_dyes_take_the_place_of_colours_and_keep_shades() -> None:
    bank = squares()
    bank[0, :3, :4], bank[0, :3, 4:] = 0.2, 0.6  # a dark and a light half, of mean 0.4
    scenes = LayeredScenes(bank, 1, size=8, scale=1.0)
    with torch.no_grad():
        scenes.choice[..., 0], scenes.place[:], scenes.mix[:] = 40, 0.5, 30
        scenes.dye[0, 0] = torch.tensor([0.5, 30, -30]).where(torch.tensor([False, True, True]), 0.0)
    picture = scenes().detach()[0]
    torch.testing.assert_close(picture[:, 1, 4], torch.tensor([0.25, 0.5, 0.0]), atol=1e-4, rtol=0)
    torch.testing.assert_close(picture[:, 6, 4], torch.tensor([0.75, 1.0, 0.0]), atol=1e-4, rtol=0)


def test_gradients_reach_all_parameters_and_no_empty_scene_breaks() -> None:
    torch.manual_seed(0)
    bank = torch.rand(3, 4, 8, 8)
    scenes = LayeredScenes(bank, 2, layers=2, size=16)
    with torch.no_grad():
        scenes.place[0] = 9.0  # outside: nothing is seen
    weights = torch.randn(2, 3, 16, 16)
    (scenes() * weights).sum().backward()
    for name, parameter in scenes.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad[1].any(), name
    loss = modality_similarity(torch.zeros(1, 3, requires_grad=True), torch.zeros(1, 3))
    assert loss.isfinite().all()


def test_prompts_have_no_gradient_and_the_mean_of_pictures_is_left_out() -> None:
    x, prompt = torch.randn(4, 3, requires_grad=True), torch.randn(4, 3, requires_grad=True)
    centre = torch.randn(3)
    loss = modality_similarity(x, prompt, centre).sum()
    given, taught = torch.autograd.grad(loss, (x, prompt), allow_unused=True)
    assert given.any()
    assert taught is None
    expected = 4 - torch.nn.functional.cosine_similarity(x - centre, prompt).sum()
    torch.testing.assert_close(loss, expected)


def test_fits_choose_what_prompts_ask_for_and_leave_the_encoder_alone() -> None:
    torch.manual_seed(0)
    bank = squares()
    bank[0, 2], bank[1, 2] = 0.3, 0.3
    scenes = LayeredScenes(bank, 2, size=16, scale=0.6)
    with torch.no_grad():
        scenes.mix.fill_(-8)
    weight = torch.eye(3, requires_grad=True)

    def encode(pictures: Tensor) -> Tensor:
        return (1 - pictures.mean((2, 3))) @ weight

    prompts = torch.tensor([[0.0, 1, 0.7], [1, 0, 0.7]])  # what is not red, and what is not green
    before = 1 - modality_similarity(encode(scenes()), prompts)
    reached = fit_scenes(scenes, encode, prompts[None], steps=60, views=2)
    assert (reached > before).all()
    assert scenes.probabilities()[:, 0].argmax(1).tolist() == [0, 1]
    assert weight.grad is None
