"""transformers' encoders of clips: features as theirs, whatever stands beside a clip."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

import counterpoint as cp
from counterpoint.interop._sequences import ClipEncoder
from counterpoint.networks import build_towers
from counterpoint.networks.base import Tower
from counterpoint.recipes.schema import Towers
from counterpoint.registry import UnknownNameError

SIZE, FRAMES = 16, 4
SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
SIZES |= {"image_size": SIZE, "num_frames": FRAMES}
KINDS = ("timesformer", "videomae", "vivit")


def save(folder: Path, kind: str, layers: int = 2) -> tuple[Any, Any]:
    """A random small model of a kind with its processor, as its makers would save them."""
    torch.manual_seed(0)
    of_kind = {
        "videomae": {"patch_size": 8},
        "timesformer": {"patch_size": 8},
        "vivit": {"tubelet_size": [2, 8, 8]},
    }
    config = transformers.AutoConfig.for_model(kind, **SIZES | {"num_hidden_layers": layers}, **of_kind[kind])
    model = transformers.AutoModel.from_config(config).eval()
    processor: Any
    side = {"height": SIZE, "width": SIZE}
    if kind == "vivit":
        processor = transformers.VivitImageProcessor(size={"shortest_edge": SIZE}, crop_size=side)
    else:
        processor = transformers.VideoMAEImageProcessor(
            size={"shortest_edge": SIZE},
            crop_size=side,
            image_mean=[0.4, 0.5, 0.6],
            image_std=[0.2, 0.3, 0.4],
        )
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return model, processor


def tower(name: str, seed: int = 0) -> ClipEncoder:
    section = Towers(video=name, image_size=SIZE, video_frames=FRAMES)
    built: Tower = build_towers(section, {}, seed, columns={"video": "video"})["video"]
    assert isinstance(built, ClipEncoder)
    return built.eval()


def noise(*lengths: int) -> cp.Clips:
    rng = np.random.default_rng(0)
    return cp.Clips.of([rng.integers(0, 256, (length, 3, SIZE, SIZE), np.uint8) for length in lengths])


@pytest.mark.parametrize("kind", KINDS)
def test_clip_has_library_s_features_whatever_stands_beside_it(tmp_path: Path, kind: str) -> None:
    model, processor = save(tmp_path, kind)
    net, clips = tower(f"transformers:{kind}@{tmp_path}"), noise(4, 2, 4)
    with torch.no_grad():
        together = net(net.input(clips))
        for row, own in enumerate(together):
            one = clips[row]
            torch.testing.assert_close(net(net.input(one))[0], own, rtol=0, atol=1e-5)
            frames = one.frames[0, [0, 1, 2, 3] if row != 1 else [0, 0, 1, 1]]
            given = processor(list(frames.permute(0, 2, 3, 1).numpy()), return_tensors="pt")["pixel_values"]
            states = model(given.view(1, FRAMES, 3, SIZE, SIZE)).last_hidden_state
            theirs = states[0].mean(0) if kind == "videomae" else states[0, 0]
            torch.testing.assert_close(own, theirs, rtol=1e-4, atol=1e-5)
    assert torch.pdist(together).min() > 1e-4


@pytest.mark.parametrize("kind", KINDS)
def test_states_are_those_of_single_times(tmp_path: Path, kind: str) -> None:
    save(tmp_path, kind, layers=0)  # so that no time knows of another one
    net, given = tower(f"transformers:{kind}@{tmp_path}"), torch.rand(1, FRAMES, 3, SIZE, SIZE)
    other = given.clone()
    other[0, -1] = 0
    with torch.no_grad():
        changed = (net.states(given) - net.states(other)).abs().amax(2)[0]
    assert (changed > 1e-6).tolist() == ([False] * 3 + [True] if kind == "timesformer" else [False, True])


def test_a_kind_alone_is_random_by_seed_and_others_are_refused(tmp_path: Path) -> None:
    save(tmp_path, "videomae")
    one, same, other = (tower(f"transformers:{tmp_path}", seed=seed) for seed in (1, 1, 2))
    given = one.input(noise(4))
    assert torch.equal(one(given), same(given))
    assert not torch.allclose(one(given), other(given))
    with pytest.raises(
        UnknownNameError, match="unknown transformers model of clips 'videomea': did you mean 'videomae'"
    ):
        tower("transformers:videomea")
    transformers.BertConfig(hidden_size=16).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="bert is no encoder of clips that is known here"):
        tower(f"transformers:bert@{tmp_path}")
