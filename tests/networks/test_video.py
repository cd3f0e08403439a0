"""The towers of clips: their input, the tower of pictures on each frame, independence of what stands beside."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import counterpoint as cp
from counterpoint.networks import build_towers
from counterpoint.networks.base import Tower
from counterpoint.networks.towers.footage import MOST_FRAMES, Footage
from counterpoint.networks.towers.video import FramesTower
from counterpoint.recipes.schema import Towers

SIZE = 16


def noise(*lengths: int, side: int = SIZE) -> cp.Clips:
    rng = np.random.default_rng(0)
    return cp.Clips.of([rng.integers(0, 256, (length, 3, side, side), np.uint8) for length in lengths])


def tower(name: str = "frames", frames: int = 4, seed: int = 0) -> FramesTower:
    section = Towers(video=name, image_size=SIZE, video_frames=frames)
    built = build_towers(section, {}, seed, columns={"video": "video"})["video"]
    assert isinstance(built, FramesTower)
    return built.eval()


def test_input_frames_from_first_to_last_and_no_more_than_there() -> None:
    clips = noise(9, 3, 1)
    made = Footage(SIZE, 3)(clips)
    assert made.shape == (3, 3, 3, SIZE, SIZE)
    torch.testing.assert_close(made[0], clips.frames[0, [1, 4, 7]] / 255)
    torch.testing.assert_close(made[1], clips.frames[1, :3] / 255)
    torch.testing.assert_close(made[2, 0], clips.frames[2, 0] / 255)
    assert made[2, 1:].isnan().all()
    assert Footage(SIZE, 3)(clips[2]).shape == (1, 1, 3, SIZE, SIZE)
    assert Footage(SIZE, 3)(noise(2, side=32)).shape == (1, 2, 3, SIZE, SIZE)
    with pytest.raises(ValueError, match=f"at most {MOST_FRAMES} frames of a clip are kept"):
        Footage(SIZE, MOST_FRAMES + 1)


@pytest.mark.parametrize("name", ["frames", "stills"])
def test_neither_padding_nor_neighbours_change_features(name: str) -> None:
    net, clips = tower(name), noise(9, 3, 1, 4)
    with torch.no_grad():
        together, states = net(net.input(clips)), net.states(net.input(clips))
        backwards = net(net.input(clips[::-1])).flip(0)
        for row in range(4):
            one = net.input(clips[row])
            torch.testing.assert_close(net(one)[0], together[row], rtol=0, atol=1e-5)
            alone = net.states(one)[0]
            torch.testing.assert_close(states[row, : len(alone)], alone, rtol=0, atol=1e-5)
            torch.testing.assert_close(alone.mean(0), together[row], rtol=0, atol=1e-5)
            assert not states[row, len(alone) :].any()
    torch.testing.assert_close(backwards, together, rtol=0, atol=1e-5)


def test_the_order_of_frames_matters_to_frames_and_not_to_stills() -> None:
    clips = noise(4, 4)
    turned = clips.with_values(clips.frames.flip(1))
    with torch.no_grad():
        for name, matters in {"frames": True, "stills": False}.items():
            net = tower(name)
            distance = (net(net.input(clips)) - net(net.input(turned))).abs().max()
            assert (distance > 1e-3) == matters


def test_frames_pass_through_the_tower_of_pictures_of_the_recipe() -> None:
    columns = {"image": "image", "video": "video"}
    built = build_towers(Towers(image="mlp", video="stills", image_size=SIZE), {}, 3, columns=columns)
    pictures = torch.rand(2, 3, SIZE, SIZE)
    with torch.no_grad():
        seen, alone = built["video"](pictures[:, None]), built["image"](pictures)
    torch.testing.assert_close(seen, alone)
    assert built["video"].sizes == {"image_size": SIZE, "video_frames": 8, "image": "mlp"}


def test_clip_is_not_there_has_features_and_no_gradient_is_lost() -> None:
    net, given = tower().train(), torch.rand(2, 4, 3, SIZE, SIZE)
    given[1] = torch.nan
    found = net(given)
    assert found.isfinite().all()
    found[0].square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())
    assert net(torch.full_like(given, torch.nan)).isfinite().all()
    with torch.autocast("cpu", torch.bfloat16):
        assert net(given).isfinite().all()


def test_it_is_random_by_its_seed() -> None:
    one, same, other = (tower(seed=seed) for seed in (1, 1, 2))
    given = one.input(noise(3))
    assert torch.equal(one(given), same(given))
    assert not torch.allclose(one(given), other(given))


def test_model_takes_clips_takes_pictures_as_clips_of_one_frame() -> None:
    net: Tower = tower()
    pictures = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 3, SIZE, SIZE), np.uint8))
    clips = cp.raw.check_clips(pictures)
    assert clips.lengths.tolist() == [1, 1]
    torch.testing.assert_close(net(net.input(clips)), net((pictures / 255)[:, None]))
