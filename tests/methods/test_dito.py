"""DITO: pictures, regions and patches through the pyramid and the head; what goes on from a run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from method_stubs import batch, build, finer_vit, total
from torchvision.ops import roi_align

from counterpoint.data.source import load as load_data
from counterpoint.networks.towers.windowed import WindowedTransformer
from counterpoint.recipes import load as load_recipe
from counterpoint.recipes import override
from counterpoint.study.training.runner import run as carry_out
from counterpoint.training.run import Run
from counterpoint.training.start import load, prepare

WHOLE = torch.tensor([[[0.0, 0, 1, 1]]])
PICTURES = torch.randint(256, (3, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def windowed() -> WindowedTransformer:
    return WindowedTransformer(8, 1, width=12, depth=2, heads=2)


def test_picture_is_the_largest_over_levels_of_the_whole_box() -> None:
    method = build("dito", image=finer_vit, channels=4).double()
    given = batch(method, 4, dtype=torch.float64)
    maps = method.image_tower.patches(given["image"])
    of_levels = []
    for level in method.levels:
        x = level(maps)
        rois = torch.tensor([[k, 0, 0, x.shape[3], x.shape[2]] for k in range(4)], dtype=torch.float64)
        of_levels.append(method.region_head.layers(roi_align(x, rois, 7, sampling_ratio=2, aligned=True)))
    assert len({tuple(level(maps).shape) for level in method.levels}) == 4
    largest = torch.stack(of_levels).amax(0)
    torch.testing.assert_close(method.features("image", given["image"]), largest)
    texts = method.project("text", method.features("text", given["text"]), "global")
    expected = method.objective(F.normalize(largest, dim=-1), F.normalize(texts, dim=-1))
    torch.testing.assert_close(total(method, given), expected)


def test_regions_and_patches_are_embedded_by_the_head() -> None:
    method = build("dito", image=finer_vit, channels=4)
    assert method.width == 8
    pictures = method.embed("image", PICTURES)
    boxes = torch.cat([WHOLE, torch.tensor([[[0.25, 0.5, 0.5, 0.75]]]), torch.full((1, 1, 4), torch.nan)], 1)
    regions = method.embed_regions(PICTURES, boxes.expand(3, -1, -1))
    torch.testing.assert_close(regions[:, 0], pictures)
    patches = method.embed_patches(PICTURES)
    assert patches.shape == (3, 8, 4, 4)
    torch.testing.assert_close(regions[:, 1], patches[:, :, 2, 1])
    assert regions[:, 2].isnan().all()
    assert not torch.allclose(regions[:, 1], pictures, atol=1e-2)


def test_second_pass_needs_windows_and_counts_as_a_pass() -> None:
    method = build("dito", image=windowed, shifted=True)
    assert method.image_tower.shifted
    assert method.passes() == {"image": 2, "text": 1}
    assert build("dito", image=windowed).passes() == {"image": 1, "text": 1}
    with pytest.raises(ValueError, match="shifts the windows of a tower"):
        build("dito", image=finer_vit, shifted=True)


def test_goes_on_from_a_run(tmp_path: Path) -> None:
    recipe = override(
        load_recipe("seconds"),
        {
            "steps": 1,
            "batch_size": 16,
            "towers.image": "vit-windows",
            "towers.image_size": 16,
            "towers.image_patch": 4,
            "towers.image_width": 16,
            "towers.image_layers": 2,
        },
    )
    carry_out(Run("clip", "digits", recipe), tmp_path / "clip", test=False)
    arm = f'dito,from="{tmp_path / "clip"}",channels=4,shifted=true,backbone=0.5'
    before, (after, _) = load(tmp_path / "clip"), prepare(Run(arm, "digits", recipe), load_data("digits"))
    assert after.image_tower.shifted
    assert after.rates == {"towers": 0.5, "projections": 0.5}
    for name in ("towers.image", "towers.text", "projections.text"):
        lent, own = (model.get_submodule(name).state_dict() for model in (before, after))
        assert all(torch.equal(value, own[key]) for key, value in lent.items()), name
