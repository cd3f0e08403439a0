from __future__ import annotations

import dataclasses
import inspect

import numpy as np
import pytest
import torch
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional as F

from counterpoint.data import views
from counterpoint.data.views import colours, named_pictures, pictures, resampling
from counterpoint.recipes import Augmentation
from counterpoint.registry import UnknownNameError

NAMES = tuple(named_pictures.IMAGE_VIEWS)
ROUNDING = 0.01 / 255  # a hundredth of a grey level: float32 through a chain of seven changes


def _pictures(n: int = 40, size: int = 72, seed: int = 0) -> torch.Tensor:
    """Noise, smooth colours, flat colours, black and white: every kind of pixel a formula may trip over."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randint(0, 256, (n, 3, size, size), generator=generator, dtype=torch.uint8)
    coarse = torch.rand(n, 3, 4, 4, generator=generator)
    smooth = (torch.nn.functional.interpolate(coarse, size=size, mode="bilinear") * 255).to(torch.uint8)
    result = torch.where(torch.arange(n)[:, None, None, None] % 2 == 0, noise, smooth)
    result[1], result[3], result[5] = 0, 255, 128
    result[7] = torch.tensor([255, 0, 0], dtype=torch.uint8)[:, None, None]
    return result


def _one_by_one(picture: torch.Tensor, draw: pictures.Draw, i: int, size: int) -> torch.Tensor:
    """The same parameters through torchvision's functions, in float, for one picture."""
    x = picture.float() / 255
    top, left, height, width = draw.box[i].tolist()
    x = F.resized_crop(
        x, top, left, height, width, [size, size], interpolation=InterpolationMode.BICUBIC, antialias=True
    )
    x = x.clamp(0, 1)
    if draw.flip[i]:
        x = F.horizontal_flip(x)
    if draw.angle[i] or draw.shift[i].any() or draw.zoom[i] != 1:
        x = F.affine(
            x,
            float(draw.angle[i]),
            draw.shift[i].tolist(),
            float(draw.zoom[i]),
            [0.0, 0.0],
            interpolation=InterpolationMode.BILINEAR,
        )
    changes = (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation, F.adjust_hue)
    for number in draw.order[i]:
        if not np.isnan(draw.factors[i, number]):
            x = changes[number](x, float(draw.factors[i, number]))
    if draw.gray[i]:
        x = F.rgb_to_grayscale(x, num_output_channels=3)
    if draw.sigma[i]:
        x = F.gaussian_blur(x, resampling.blur_kernel_size(size), float(draw.sigma[i]))
    if draw.solarize[i]:
        x = F.solarize(x, 0.5)
    return x


def test_patches_of_jigsaw_stay_in_their_part_and_reach_its_ends() -> None:
    keys = views.key(0, 0, np.arange(2000), "image")
    for number, (top, left) in enumerate([(0, 0), (0, 8), (10, 0), (10, 8)], 1):
        view = views.image(f"jigsaw_{number}")
        assert isinstance(view, pictures.ImageView)
        box = view.draw(keys, 50, 40, 24).box
        assert box[:, :2].min(0).tolist() == [top, left]
        assert (box[:, :2] + box[:, 2:]).max(0).tolist() == [top + 40, left + 32]


@pytest.mark.parametrize("name", [name for name in NAMES if name != "weak_or_strong"])
@pytest.mark.parametrize("size", [48, 96])
def test_each_view_is_torchvisions_chain_with_same_parameters(name: str, size: int) -> None:
    batch = _pictures()
    view = views.image(name)
    keys = views.key(0, 0, np.arange(len(batch)), "image")
    draw = view.draw(keys, 72, 72, size)
    ours = view.apply(batch, keys, size)
    assert ours.shape == (len(batch), 3, size, size)
    assert ours.min() >= 0
    assert ours.max() <= 1
    theirs = torch.stack([_one_by_one(batch[i], draw, i, size) for i in range(len(batch))])
    difference = (ours - theirs).abs().flatten(1).max(1).values
    # Solarising jumps at one half: a pixel within rounding of it may fall on either side.
    plain = torch.from_numpy(~draw.solarize)
    torch.testing.assert_close(difference[plain], torch.zeros_like(difference[plain]), atol=ROUNDING, rtol=0)
    if not plain.all():
        jumped = (ours - theirs)[~plain].abs() > ROUNDING
        assert jumped.float().mean() < 1e-4


def test_a_byte_pipeline_differs_by_rounding_only() -> None:
    batch = _pictures(8) // 2 + 64  # far enough from black and white for no pass to clip
    ours = views.image("plain").apply(batch, views.key(0, 0, np.arange(8), "image"), 48)
    theirs = F.resize(batch, [48, 48], interpolation=InterpolationMode.BICUBIC, antialias=True)
    # Half a level from rounding the result, and half a level after the first pass, which the weights of the
    # second carry on (their magnitudes add up to less than 1.4); a byte's weights have a fixed point.
    assert ((ours * 255) - theirs).abs().max() <= 0.5 + 0.5 * 1.4 + 0.1


def test_plain_is_the_picture_itself_at_its_own_size() -> None:
    batch = _pictures(8)
    ours = views.image("plain").apply(batch, views.key(0, 0, np.arange(8), "image"), 72)
    torch.testing.assert_close(ours, batch.float() / 255, atol=1e-6, rtol=0)


def test_plain_takes_the_central_square() -> None:
    batch = _pictures(8)
    wide = torch.nn.functional.pad(batch, (10, 14))
    keys = views.key(0, 0, np.arange(8), "image")
    torch.testing.assert_close(
        views.image("plain").apply(wide, keys, 48),
        views.image("plain").apply(wide[..., 12:84], keys, 48),
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_view_does_not_depend_on_the_batch(name: str) -> None:
    batch = _pictures(50)
    ids = np.arange(100, 150)
    view = views.image(name)
    whole = view.apply(batch, views.key(5, 2, ids, "image"), 48)
    order = np.random.default_rng(0).permutation(50)
    for part in np.array_split(order, [1, 18, 40]):
        again = view.apply(batch[part], views.key(5, 2, ids[part], "image"), 48)
        torch.testing.assert_close(again, whole[part], atol=ROUNDING, rtol=0)


def test_the_pictures_given_are_not_changed() -> None:
    batch = _pictures()
    before = batch.clone()
    for name in NAMES:
        views.image(name).apply(batch, views.key(0, 0, np.arange(len(batch)), "image"), 72)
    assert torch.equal(batch, before)


def test_epochs_and_views_draw_anew() -> None:
    batch = _pictures()
    ids = np.arange(len(batch))
    view = views.image("strong")
    shown = [
        view.apply(batch, views.key(0, epoch, ids, name), 48)
        for epoch, name in ((0, "a"), (1, "a"), (0, "b"))
    ]
    assert (shown[0] - shown[1]).abs().max() > 0.1
    assert (shown[0] - shown[2]).abs().max() > 0.1


def test_frequencies_and_ranges_of_the_strong_view() -> None:
    n = 20_000
    draw = views.image("strong").draw(views.key(0, 0, np.arange(n), "image"), 72, 72, 48)
    sd = 0.5 / np.sqrt(n)
    jittered = ~np.isnan(draw.factors)
    assert (jittered.all(1) == jittered.any(1)).all()
    for found, expected in (
        (jittered.all(1), 0.8),
        (draw.gray, 0.2),
        (draw.sigma > 0, 0.5),
        (draw.flip, 0.5),
    ):
        assert abs(found.mean() - expected) < 5 * sd
    assert not draw.solarize.any()
    blurred = draw.sigma[draw.sigma > 0]
    assert 0.1 <= blurred.min() < 0.11
    assert 1.99 < blurred.max() < 2.0
    low, high = np.nanmin(draw.factors, axis=0), np.nanmax(draw.factors, axis=0)
    np.testing.assert_allclose(low, [0.6, 0.6, 0.6, -0.1], atol=2e-3)
    np.testing.assert_allclose(high, [1.4, 1.4, 1.4, 0.1], atol=2e-3)
    _, counts = np.unique(draw.order, axis=0, return_counts=True)
    assert len(counts) == 24
    assert np.abs(counts / n - 1 / 24).max() < 5 * np.sqrt(1 / 24 / n)


def test_weak_neither_mirrors_nor_recolours() -> None:
    draw = views.image("weak").draw(views.key(0, 0, np.arange(1000), "image"), 72, 72, 48)
    assert not draw.flip.any()
    assert np.isnan(draw.factors).all()
    assert not draw.gray.any()
    assert not draw.sigma.any()


def test_convirt_leaves_hue_and_saturation_alone() -> None:
    draw = views.image("convirt").draw(views.key(0, 0, np.arange(1000), "image"), 72, 72, 48)
    assert np.isnan(draw.factors[:, 2:]).all()
    assert not np.isnan(draw.factors[:, :2]).any()
    assert np.abs(draw.angle).max() <= 20
    assert np.abs(draw.shift).max() <= 5  # a tenth of 48, in whole pixels
    assert draw.zoom.min() >= 0.95
    assert draw.zoom.max() <= 1.05


def test_weak_or_strong_is_one_of_the_two_for_each_picture() -> None:
    batch = _pictures(8).repeat(50, 1, 1, 1)
    keys = views.key(0, 0, np.arange(400), "image")
    either, weak, strong = (
        views.image(name).apply(batch, keys, 48) for name in ("weak_or_strong", "weak", "strong")
    )
    is_weak = (either == weak).flatten(1).all(1)
    is_strong = (either == strong).flatten(1).all(1)
    assert (is_weak | is_strong).all()
    assert 150 < int((is_weak & ~is_strong).sum()) < 250


def test_byol_pair_is_asymmetric() -> None:
    keys = views.key(0, 0, np.arange(20_000), "image")
    first, second = (views.image(f"byol_{i}").draw(keys, 72, 72, 48) for i in (1, 2))
    assert (first.sigma > 0).all()
    assert not first.solarize.any()
    assert abs((second.sigma > 0).mean() - 0.1) < 0.011
    assert abs(second.solarize.mean() - 0.2) < 0.015


@pytest.mark.parametrize(("height", "width"), [(72, 72), (40, 200), (200, 40)])
@pytest.mark.parametrize("scale", [(0.08, 1.0), (0.5, 1.0)])
def test_crops_have_torchvisions_distribution(height: int, width: int, scale: tuple[float, float]) -> None:
    n = 4000
    boxes = resampling.crop_boxes(views.key(1, 0, np.arange(n), "image"), height, width, scale)
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, 0] + boxes[:, 2] <= height).all()
    assert (boxes[:, 1] + boxes[:, 3] <= width).all()
    torch.manual_seed(0)
    crop = v2.RandomResizedCrop(48, scale=scale)
    picture = torch.zeros(3, height, width)
    theirs = [crop.make_params([picture]) for _ in range(n)]
    reference = np.array([[d["top"], d["left"], d["height"], d["width"]] for d in theirs])
    for ours, other in zip(boxes.T, reference.T, strict=True):
        pooled = np.sqrt((ours.var() + other.var()) / n)
        assert abs(ours.mean() - other.mean()) <= 5 * pooled
        for quantile in (0.1, 0.5, 0.9):
            level = np.quantile(other, quantile)
            assert abs((ours <= level).mean() - (other <= level).mean()) <= 5 * np.sqrt(0.5 / n)


def test_crops_where_nothing_fits_fall_back_to_the_centre() -> None:
    boxes = resampling.crop_boxes(views.key(0, 0, np.arange(3), "image"), 10, 100, (1.0, 1.0))
    assert (boxes == [0, 43, 10, 13]).all()


def test_large_crops_are_those_of_the_matrices(monkeypatch: pytest.MonkeyPatch) -> None:
    # Values that the filter never takes out of a byte's range, so that nothing is cut off between its two passes.
    given = torch.from_numpy(np.random.default_rng(0).integers(64, 192, (4, 3, 150, 130), dtype=np.uint8))
    boxes = resampling.crop_boxes(views.key(2, 0, np.arange(4), "image"), 150, 130, (0.2, 1.0))
    mirrored = np.array([True, False, True, False])
    one_by_one = resampling.crops(given, boxes, mirrored, 100)
    monkeypatch.setattr(resampling, "_DENSE", 100)
    by_matrices = resampling.crops(given, boxes, mirrored, 100)
    # Each pass rounds to a whole number, by half of one at most, and the second adds up what the first did by weights
    # whose absolute values add up to most as much as here.
    matrices = [
        resampling.crop_matrices(*box, 100)
        for box in ((boxes[:, 0], boxes[:, 2], 150), (boxes[:, 1], boxes[:, 3], 130))
    ]
    weight = max(float(matrix.abs().sum(-1).max()) for matrix in matrices)
    torch.testing.assert_close(one_by_one, by_matrices, rtol=0, atol=(0.5 + 0.5 * weight) / 255)


def test_the_filter_in_plain_loops() -> None:
    """One row of the crop matrix against the definition of anti-aliased bicubic resizing."""
    start, length, extent, size = 5, 50, 72, 20
    matrix = resampling.crop_matrices(np.array([start]), np.array([length]), extent, size)[0]
    scale = length / size

    def kernel(x: float) -> float:
        x = abs(x)
        if x < 1:
            return 1.5 * x**3 - 2.5 * x**2 + 1
        return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0.0

    for out in range(size):
        weights = {}
        for pixel in range(length):
            weights[pixel] = kernel((pixel + 0.5 - (out + 0.5) * scale) / scale)
        total = sum(weights.values())
        for pixel in range(extent):
            expected = weights.get(pixel - start, 0.0) / total
            assert abs(float(matrix[out, pixel]) - expected) < 1e-6


def test_blur_kernel_in_plain_loops() -> None:
    size, sigma = 20, 1.3
    matrix = resampling.blur_matrices(np.array([sigma]), size)[0]
    radius = resampling.blur_kernel_size(size) // 2
    weights = [np.exp(-(k**2) / (2 * sigma**2)) for k in range(-radius, radius + 1)]
    for out in range(size):
        expected = np.zeros(size)
        for k, weight in zip(range(-radius, radius + 1), weights, strict=True):
            place = out + k
            place = -place if place < 0 else place
            place = 2 * (size - 1) - place if place >= size else place
            expected[place] += weight / sum(weights)
        np.testing.assert_allclose(matrix[out].numpy(), expected, atol=1e-6)


def test_jitter_of_neutral_factors_is_the_identity() -> None:
    x = _pictures(10).float() / 255
    factors = torch.tensor([[1.0, 1.0, 1.0, 0.0]]).expand(10, 4)
    order = torch.arange(4).expand(10, 4)
    torch.testing.assert_close(colours.jitter(x.clone(), factors, order), x, atol=1e-5, rtol=0)


def test_hue_by_thirds_moves_the_channels_round() -> None:
    x = _pictures(10).float() / 255
    third = torch.full((10,), 1 / 3)
    torch.testing.assert_close(colours.hue(x.clone(), third), x.roll(1, dims=1), atol=1e-5, rtol=0)


def test_bad_input_names_the_argument() -> None:
    apply = inspect.unwrap(
        pictures.ImageView.apply
    )  # as users call it: without the checks of the annotations
    view = views.image("weak")
    keys = views.key(0, 0, np.arange(2), "image")
    with pytest.raises(ValueError, match=r"keys must be one per picture: got 2 for 3"):
        apply(view, torch.zeros(3, 3, 8, 8, dtype=torch.uint8), keys, 8)
    with pytest.raises(
        ValueError, match=r"pictures must be uint8 of shape \(n, 3, H, W\), got torch.float32"
    ):
        apply(view, torch.zeros(2, 3, 8, 8), keys, 8)
    with pytest.raises(ValueError, match=r"unknown image view 'strnog': did you mean 'strong'"):
        views.image("strnog")


def test_views_are_immutable() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        views.image("weak").mirror = 1.0  # type: ignore[misc]


def test_a_recipe_names_the_view_that_is_contrasted() -> None:
    written = Augmentation(contrasted="written")
    assert views.image("simclr", written) is views.image("written")
    assert views.image("weak", written) is views.image("weak")
    with pytest.raises(UnknownNameError, match="image view"):
        views.image("simclr", Augmentation(contrasted="writen"))


def test_all_changes_of_simclr_by_name_are_simclr_in_any_order() -> None:
    assert views.image("crop+mirror+colour+gray+blur") == views.image("simclr")
    assert views.image("blur+gray+colour+mirror+crop") == views.image("simclr")


@pytest.mark.parametrize("names", ["crop", "mirror", "colour", "gray", "blur", "crop+mirror", "gray+blur"])
def test_a_view_of_some_changes_makes_these_and_no_others(names: str) -> None:
    keys = views.key(0, 0, np.arange(64), "image")
    some, all_of_it, none = (views.image(name).draw(keys, 72, 72, 48) for name in (names, "simclr", "plain"))
    drawn = {"crop": "box", "mirror": "flip", "colour": "factors", "gray": "gray", "blur": "sigma"}
    for change, attribute in drawn.items():
        of = all_of_it if change in names.split("+") else none
        np.testing.assert_array_equal(getattr(some, attribute), getattr(of, attribute))


def test_recipe_names_the_changes_that_make_the_views_contrasted() -> None:
    assert views.image("simclr", Augmentation(contrasted="crop+blur")) == views.image("crop+blur")
    with pytest.raises(
        UnknownNameError, match=r"change in the image view 'crop\+blurr': 'blurr': did you mean 'blur'"
    ):
        views.image("simclr", Augmentation(contrasted="crop+blurr"))
    with pytest.raises(UnknownNameError, match="unknown image view 'cropp': did you mean 'crop'"):
        views.image("simclr", Augmentation(contrasted="cropp"))
    with pytest.raises(ValueError, match=r"'crop\+blur\+crop' names 'crop' twice"):
        views.image("simclr", Augmentation(contrasted="crop+blur+crop"))
